"""What a second run does with what changed: studies, parameters, commands, the API itself."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from milvue_async import ConfigurationError, MilvueClient, RunLimits, process_directory
from milvue_async.batch.ledger import LEDGER
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from pathlib import Path

UIDS = ["1.2.1", "1.2.2", "1.2.3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, uid in enumerate(UIDS):
        study_files(tmp_path / "in" / uid, study_instance_uid=uid, seed=number)
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def manifest(output: Path) -> dict[str, Any]:
    lines = (output / "manifest.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert len({entry["StudyInstanceUID"] for entry in entries}) == len(entries)
    return {entry["StudyInstanceUID"]: entry for entry in entries}


def submissions(simulator: Simulator) -> dict[str, int]:
    return {uid: account.submissions for uid, account in simulator.account.items()}


@pytest.mark.parametrize("change", ["replaced", "added", "removed"])
async def test_a_study_whose_images_changed_is_reported_and_sent_only_when_asked(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path, change: str
) -> None:
    await process_directory(client, folder, output)
    files = sorted((folder / UIDS[0]).iterdir())
    if change == "added":
        study_files(folder / UIDS[0], study_instance_uid=UIDS[0], instances=3, seed=0)
    elif change == "removed":
        files[0].unlink()
    else:
        study_files(folder / UIDS[0], study_instance_uid=UIDS[0], seed=77)
        for file in files:
            file.unlink()
    again = await process_directory(client, folder, output)
    assert again.outcomes == {"done": 2, "skipped": 1}
    assert not again.is_complete
    assert "changed since it was sent" in manifest(output)[UIDS[0]]["error"]
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)

    sent = await process_directory(client, folder, output, send_changed=True)
    assert sent.outcomes == {"done": 3}
    assert submissions(simulator) == {UIDS[0]: 2, UIDS[1]: 1, UIDS[2]: 1}
    last = await process_directory(client, folder, output, send_changed=True)
    assert (last.already_done, submissions(simulator)[UIDS[0]]) == (3, 2)


async def test_files_that_were_only_copied_or_moved_are_the_same_study(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    await process_directory(client, folder, output)
    for number, file in enumerate(sorted((folder / UIDS[0]).iterdir())):
        content = file.read_bytes()
        file.unlink()
        (folder / f"renamed {number}").write_bytes(content)
    again = await process_directory(client, folder, output)
    assert (again.already_done, again.outcomes) == (3, {"done": 3})
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)


async def test_a_time_of_change_that_no_clock_should_have_does_not_matter(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    for uid, nanoseconds in ((UIDS[0], 10**19), (UIDS[1], -(10**18))):
        for file in (folder / uid).iterdir():
            os.utime(file, ns=(nanoseconds, nanoseconds))
            assert file.stat().st_mtime_ns == nanoseconds, "as far as ext4 and tmpfs go"
    first = await process_directory(client, folder, output)
    again = await process_directory(client, folder, output)
    assert (first.outcomes, again.already_done) == ({"done": 3}, 3)
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)


async def test_other_results_are_fetched_and_nothing_is_sent(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    await process_directory(client, folder, output, commands=["smarturgences"])
    more = await process_directory(client, folder, output)
    assert more.already_done == 0
    french = await process_directory(client, folder, output, language="fr")
    assert french.already_done == 0
    again = await process_directory(client, folder, output, language="fr")
    assert again.already_done == 3
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)
    assert simulator.account[UIDS[0]].result_queries["smartxpert"]["language"] == "fr"


async def test_other_upload_parameters_are_a_change(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    await process_directory(client, folder, output)
    other = await process_directory(client, folder, output, site_id="north")
    assert other.outcomes == {"skipped": 3}
    await process_directory(client, folder, output, site_id="north", send_changed=True)
    assert submissions(simulator) == dict.fromkeys(UIDS, 2)


async def test_another_api_has_not_got_them(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path, token: str
) -> None:
    await process_directory(client, folder, output)
    async with (
        Simulator(SimulatorConfig(inference_seconds=0)) as other,
        MilvueClient(other.url, token, poll_interval=0.01) as elsewhere,
    ):
        summary = await process_directory(elsewhere, folder, output)
        assert (summary.already_done, summary.outcomes) == (0, {"done": 3})
        assert submissions(other) == dict.fromkeys(UIDS, 1)
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)
    assert set(manifest(output)) == set(UIDS)


async def test_what_failed_for_good_is_taken_up_only_when_asked(
    token: str, folder: Path, output: Path
) -> None:
    config = SimulatorConfig(inference_seconds=0, outcomes={UIDS[0]: "error"})
    async with (
        Simulator(config) as simulator,
        MilvueClient(simulator.url, token, poll_interval=0.01) as client,
    ):
        for _ in range(2):
            summary = await process_directory(client, folder, output)
            assert summary.outcomes == {"done": 2, "error": 1}
        assert simulator.account[UIDS[0]].status_polls == 1
        await process_directory(client, folder, output, retry_failed=True)
        assert submissions(simulator) == {UIDS[0]: 2, UIDS[1]: 1, UIDS[2]: 1}


async def test_so_many_studies_are_taken_up_and_the_rest_is_left(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    limits = RunLimits(max_studies=2)
    first = await process_directory(client, folder, output, limits=limits)
    assert first.outcomes == {"done": 2, "skipped": 1}
    second = await process_directory(client, folder, output, limits=limits)
    assert second.outcomes == {"done": 3}
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)


async def test_a_manifest_without_its_ledger_is_no_beginning(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    await process_directory(client, folder, output)
    (output / LEDGER).unlink()
    with pytest.raises(ConfigurationError, match=r"manifest\.jsonl but no ledger\.sqlite"):
        await process_directory(client, folder, output)
    assert submissions(simulator) == dict.fromkeys(UIDS, 1)
