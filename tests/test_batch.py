"""A run over a directory: what it leaves, and what a second run does with that."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvue_async import ConfigurationError, MilvueClient, MilvueError, StageChanged, StudyOutcome
from milvue_async.batch.events import (
    Event,
    FileSetAside,
    Polled,
    RunEnded,
    RunStarted,
    StudyEnded,
)
from milvue_async.batch.found import SetAside
from milvue_async.batch.outputs import Manifest, manifest_entry, read_manifest
from milvue_async.batch.pipeline import process_directory
from milvue_async.outcomes import CommandResult
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [
    "StudyInstanceUID",
    "outcome",
    "attempts",
    "instances",
    "bytes",
    "upload_s",
    "predict_s",
    "collect_s",
    "error",
    "results",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Studies 1.2.1 to 1.2.5, of one instance each."""
    for n in range(1, 6):
        study_files(tmp_path / "in", instances=1, study_instance_uid=f"1.2.{n}", seed=n)
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def manifest_lines(output: Path) -> list[dict[str, Any]]:
    text = (output / "manifest.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def entry(uid: str = "1.2.1", error: str | None = None) -> dict[str, Any]:
    outcome = StudyOutcome(
        study_instance_uid=uid,
        outcome="done" if error is None else "error",
        error=None if error is None else MilvueError(error),
        results={"smartxpert": CommandResult("smartxpert", "done")},
    )
    return manifest_entry(outcome)


async def test_every_study_has_its_folder_and_one_line_in_the_manifest(
    client: MilvueClient, folder: Path, output: Path
) -> None:
    (folder / "notes.txt").write_text("hello")
    summary = await process_directory(client, folder, output)
    assert summary.outcomes == {"done": 5}
    assert summary.is_complete
    lines = manifest_lines(output)
    assert sorted(line["StudyInstanceUID"] for line in lines) == [f"1.2.{n}" for n in range(1, 6)]
    for line in lines:
        assert list(line) == KEYS
        assert (line["outcome"], line["error"], line["attempts"]) == ("done", None, 1)
        assert line["results"] == {"smarturgences": "done", "smartxpert": "done"}
        assert line["bytes"] > 8000
        results = output / line["StudyInstanceUID"]
        assert sorted(path.name for path in results.iterdir()) == [
            "smarturgences",
            "smarturgences.json",
            "smartxpert",
            "smartxpert.json",
        ]
    with (output / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["StudyInstanceUID"] for row in rows] == [line["StudyInstanceUID"] for line in lines]
    assert list(rows[0]) == KEYS[:-1]
    with (output / "set_aside.csv").open(newline="", encoding="utf-8") as file:
        [aside] = csv.DictReader(file)
    assert aside["path"] == str(folder / "notes.txt")
    assert aside["reason"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_in(output)} == {0o600}


async def test_the_run_tells_how_it_goes(client: MilvueClient, folder: Path, output: Path) -> None:
    (folder / "notes.txt").write_text("hello")
    events: list[Event] = []
    await process_directory(client, folder, output, on_event=events.append)
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert (started.studies, started.instances, started.set_aside) == (5, 5, 1)
    assert started.bytes > 5 * 8000
    stages = Counter(event.stage for event in events if isinstance(event, StageChanged))
    assert stages == dict.fromkeys(("upload", "wait", "collect", "ended"), 5)
    [aside] = [event for event in events if isinstance(event, FileSetAside)]
    assert aside.path == str(folder / "notes.txt")
    ended = [event.outcome for event in events if isinstance(event, StudyEnded)]
    assert {outcome.outcome for outcome in ended} == {"done"}
    assert all(outcome.smarturgences is not None for outcome in ended)
    assert any(isinstance(event, Polled) for event in events)
    assert events[-1] == RunEnded({"done": 5}, 0, is_interrupted=False)


async def test_a_second_run_sends_nothing_again(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    await process_directory(client, folder, output)
    study_files(folder / "new", instances=1, study_instance_uid="1.2.6", seed=6)
    before = simulator.account
    summary = await process_directory(client, folder, output)
    assert (summary.already_done, summary.outcomes) == (5, {"done": 6})
    assert summary.is_complete
    after = simulator.account
    assert {uid: after[uid] for uid in before} == before, "nobody asked about what is done"
    assert after["1.2.6"].submissions == 1
    assert len(manifest_lines(output)) == 6


async def test_results_in_the_directory_itself_are_not_sent(
    simulator: Simulator, client: MilvueClient, folder: Path
) -> None:
    output = folder / "results"
    await process_directory(client, folder, output)
    summary = await process_directory(client, folder, output)
    assert (summary.already_done, summary.outcomes) == (5, {"done": 5})
    assert all(len(account.instances) == 1 for account in simulator.account.values())
    with pytest.raises(ConfigurationError, match="its own results"):
        await process_directory(client, folder, folder)
    assert not (folder / "ledger.sqlite").exists()
    with pytest.raises(ConfigurationError, match="is no folder"):
        await process_directory(client, folder / "none", folder.parent / "new")
    assert not (folder.parent / "new").exists()


async def test_a_study_without_the_results_of_a_command_is_collected_and_not_sent(
    simulator: Simulator, client: MilvueClient, folder: Path, output: Path
) -> None:
    await process_directory(client, folder, output, commands="smarturgences")
    again = await process_directory(client, folder, output, commands="smarturgences")
    assert again.already_done == 5
    more = await process_directory(client, folder, output, commands=["smarturgences", "smartxpert"])
    assert (more.already_done, more.outcomes) == (0, {"done": 5})
    assert all(account.submissions == 1 for account in simulator.account.values())


async def test_each_outcome_has_its_word(token: str, folder: Path, output: Path) -> None:
    config = SimulatorConfig(
        inference_seconds=0,
        outcomes={"1.2.1": "error", "1.2.2": "forbidden", "1.2.3": "empty"},
    )
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        summary = await process_directory(client, folder, output)
    assert {line["StudyInstanceUID"]: line["outcome"] for line in manifest_lines(output)} == {
        "1.2.1": "error",
        "1.2.2": "forbidden",
        "1.2.3": "empty",
        "1.2.4": "done",
        "1.2.5": "done",
    }
    assert not summary.is_complete
    [failed] = [line for line in manifest_lines(output) if line["outcome"] == "error"]
    assert "1.2.1" in failed["error"]
    assert token not in (output / "manifest.jsonl").read_text()


async def test_a_run_that_is_cancelled_leaves_a_true_manifest(
    client: MilvueClient, folder: Path, output: Path
) -> None:
    def cancel(event: Event) -> None:
        if isinstance(event, StudyEnded):
            scope.cancel()

    with anyio.CancelScope() as scope:
        await process_directory(client, folder, output, on_event=cancel)
    assert scope.cancelled_caught
    lines = manifest_lines(output)
    assert 1 <= len(lines) < 5
    assert {line["outcome"] for line in lines} == {"done"}
    assert not [path for path in files_in(output) if path.suffix == ".partial"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"StudyInstanceUID": "1.2.9"}',
        b'{"StudyInstanceUID": ["1.2.9"], "outcome": "done", "results": {}}',
        b'{"StudyInstanceUID": "../..", "outcome": "done", "results": {}}',
        b'{"StudyInstanceUID": "1.2.9", "outcome": ["done"], "results": {}}',
        b'{"StudyInstanceUID": "1.2.9", "outcome": "done", "results": 5}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_none_of_ours_is_passed_over(output: Path, line: bytes) -> None:
    output.mkdir()
    with Manifest(output, {}) as manifest:
        manifest.append(entry("1.2.1"))
    with (output / "manifest.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert list(read_manifest(output)) == ["1.2.1"]
    with Manifest(output, {"1.2.1": entry("1.2.1")}) as manifest:
        manifest.append(entry("1.2.2"))
    assert [line["StudyInstanceUID"] for line in manifest_lines(output)] == ["1.2.1", "1.2.2"]


@settings(max_examples=30, deadline=None)  # each brings its bytes to the disk
@given(words=st.text(st.characters()))
def test_whatever_an_error_says_stands_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, words: str
) -> None:
    output = tmp_path_factory.mktemp("out")
    with Manifest(output, {}) as manifest:
        manifest.append(entry("1.2.1", f"x{words}"))
        manifest.append(entry("1.2.2"))
        manifest.write_summary([SetAside(str(output / "f"), words)])
    entries = read_manifest(output)
    assert list(entries) == ["1.2.1", "1.2.2"]
    shown = words.encode("utf-8", "replace").decode()
    assert entries["1.2.1"]["error"] == f"x{shown}"


async def test_a_name_that_is_no_text_stops_no_run(
    client: MilvueClient, folder: Path, output: Path
) -> None:
    (folder / os.fsdecode(b"odd\xff\n\xc2\x85")).write_text("no DICOM")
    [file] = study_files(folder / os.fsdecode(b"\xfe"), instances=1, study_instance_uid="1.2.7")

    def vanish(event: Event) -> None:
        if not isinstance(event, StageChanged):
            return
        if event.study_instance_uid == "1.2.7" and event.stage == "upload":
            file.unlink()

    summary = await process_directory(client, folder, output, on_event=vanish)
    assert summary.outcomes == {"done": 5, "rejected": 1}
    assert len(manifest_lines(output)) == 6


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(output: Path, start: str) -> None:
    output.mkdir()
    with Manifest(output, {}) as manifest:
        manifest.append(entry("1.2.1", f'{start}HYPERLINK("http://x")'))
        manifest.write_summary([SetAside(str(output / "a"), f"{start}cmd|' /C calc'!A0")])
    for name, column in (("summary.csv", "error"), ("set_aside.csv", "reason")):
        with (output / name).open(newline="", encoding="utf-8") as file:
            [row] = csv.DictReader(file)
        assert row[column].startswith(f"'{start}")


def test_a_manifest_that_cannot_be_read_is_refused(output: Path) -> None:
    (output / "manifest.jsonl").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"manifest\.jsonl"):
        read_manifest(output)


def test_a_link_planted_as_the_manifest_is_not_followed(output: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    output.mkdir()
    (output / "manifest.jsonl").symlink_to(victim)
    with Manifest(output, {}) as manifest:
        manifest.append(entry())
    assert victim.read_text() == "precious"
