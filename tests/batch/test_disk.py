"""Disks that are full, files that go, and a folder that may not be written."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async import MilvueClient, process_directory
from milvue_async.batch import Event, StageChanged
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import command, environment
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STUDIES = 12
_ROOM = "64k"  # enough for a ledger, and for the results of some


@pytest.fixture
def threaded_simulator() -> Iterator[Simulator]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            Simulator(SimulatorConfig(inference_seconds=0))
        ) as running,
    ):
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(STUDIES):
        study_files(tmp_path / "in", instances=1, study_instance_uid=f"1.2.{number}", seed=number)
    return tmp_path / "in"


def in_a_small_disk(script: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own."""
    return subprocess.run(  # noqa: S603  the script is this file's own
        ["unshare", "--map-root-user", "--mount", "bash", "-euc", script],  # noqa: S607  util-linux
        env=environment(url),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_full_disk_ends_the_run_in_one_line_and_room_lets_it_go_on(
    threaded_simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    output, kept = tmp_path / "out", tmp_path / "kept"
    output.mkdir()
    kept.mkdir()
    run = " ".join(command("process", str(folder), "--output", str(output), "--no-report"))
    script = f"""
        mount -t tmpfs -o size=200k none {output}
        code=0; {run} || code=$?
        echo "first: $code"
        mount -o remount,size=64m {output}
        {run}
        echo "second: $?"
        cp -a {output}/. {kept}/
    """
    done = in_a_small_disk(script, threaded_simulator.url)
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines() == ["first: 1", "second: 0"], done.stderr
    assert "No space left on device" in done.stderr
    account = threaded_simulator.account
    assert {uid: each.submissions for uid, each in account.items()} == {
        f"1.2.{number}": 1 for number in range(STUDIES)
    }
    lines = [json.loads(line) for line in (kept / "manifest.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["done"] * STUDIES
    assert not list(kept.rglob("*.partial"))


def test_a_folder_that_cannot_be_written_is_said_so_before_anything_is_sent(
    threaded_simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    run = " ".join(command("process", str(folder), "--output", str(output)))
    script = f"mount -t tmpfs -o ro none {output}; {run}"
    done = in_a_small_disk(script, threaded_simulator.url)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Read-only file system" in done.stderr
    assert not threaded_simulator.account


@pytest.mark.parametrize("change", ["gone", "changed", "unreadable"])
async def test_a_file_that_changes_under_the_run_rejects_its_study_until_the_next(
    simulator: Simulator, client: MilvueClient, folder: Path, tmp_path: Path, change: str
) -> None:
    [file] = study_files(tmp_path / "in" / "x", instances=1, study_instance_uid="1.2.99", seed=99)
    content = file.read_bytes()
    output = tmp_path / "out"

    def alter(event: Event) -> None:
        if isinstance(event, StageChanged) and event.stage == "upload":
            if event.study_instance_uid != "1.2.99":
                return
            file.unlink()
            if change == "changed":
                file.write_bytes(content + b"\0\0")
            elif change == "unreadable":
                file.symlink_to("/proc/self/mem")

    first = await process_directory(client, folder, output, on_event=alter)
    assert first.outcomes == {"done": STUDIES, "rejected": 1}
    entries = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    [rejected] = [entry for entry in entries if entry["outcome"] == "rejected"]
    assert str(file) in rejected["error"]
    assert "1.2.99" not in simulator.account
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    second = await process_directory(client, folder, output)
    assert second.outcomes == {"done": STUDIES + 1}
    assert simulator.account["1.2.99"].submissions == 1


def test_this_machine_can_make_a_small_disk(tmp_path: Path) -> None:
    """Or the tests above would say something else than what they are about."""
    assert shutil.which("unshare"), "util-linux is missing"
    made = in_a_small_disk(f"mount -t tmpfs -o size={_ROOM} none {tmp_path}", "http://127.0.0.1:1")
    assert made.returncode == 0, made.stderr
    assert not list(tmp_path.iterdir())
