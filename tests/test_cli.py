"""The command line, as a user runs it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pydicom
import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import TOKEN, milvue
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = "1.2.826.0.1.3680043.10.1"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulator in a thread of its own, so that commands run while the test waits."""
    config = SimulatorConfig(inference_seconds=0, outcomes={f"{UID}.9": "error"})
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(config)) as running,
    ):
        yield running


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A folder with three studies of two files each, and a file that is no DICOM."""
    folder = tmp_path / "export"
    for number in range(3):
        study_files(folder / f"patient {number}", study_instance_uid=f"{UID}.{number}")
    (folder / "notes.txt").write_text("read me")
    return folder


def one_file(folder: Path, uid: str = f"{UID}.5") -> Path:
    return study_files(folder, instances=1, study_instance_uid=uid)[0]


def test_process_predicts_every_study_of_a_folder(
    simulator: Simulator, studies: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = milvue("process", str(studies), "--output", str(output), url=simulator.url)
    assert (done.code, done.out) == (0, "")
    assert "3 done; results in" in done.err
    assert "set aside" in done.err
    assert "notes.txt: not a DICOM Part 10 file" in done.err
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    assert {line["StudyInstanceUID"]: line["outcome"] for line in lines} == {
        f"{UID}.{number}": "done" for number in range(3)
    }
    for number in range(3):
        study = output / f"{UID}.{number}"
        for name in ("smarturgences", "smartxpert"):
            assert json.loads((study / f"{name}.json").read_text())["status"] == "done"
            assert {pydicom.dcmread(file).SOPInstanceUID for file in (study / name).iterdir()} == {
                file.stem for file in (study / name).iterdir()
            }
    with (output / "summary.csv").open(newline="") as file:
        assert [row["outcome"] for row in csv.DictReader(file)] == ["done"] * 3


def test_process_again_sends_nothing_again(
    simulator: Simulator, studies: Path, tmp_path: Path
) -> None:
    arguments = ("process", str(studies), "--output", str(tmp_path / "out"))
    first = milvue(*arguments, url=simulator.url)
    second = milvue(*arguments, url=simulator.url)
    assert (first.code, second.code) == (0, 0)
    assert "3 done, 3 of them before" in second.err
    assert {study.submissions for study in simulator.account.values()} == {1}


def test_process_prints_its_events_as_json_lines(
    simulator: Simulator, studies: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = milvue("process", str(studies), "--output", str(output), "--json", url=simulator.url)
    printed = [json.loads(line) for line in done.out.splitlines()]
    events = [event["event"] for event in printed]
    assert (events[0], events[-1]) == ("discovery_progressed", "run_ended")
    assert {"run_started", "file_set_aside", "stage_changed", "polled"} <= set(events)
    manifest = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    ended = [event for event in printed if event["event"] == "study_ended"]
    added = {"event": "study_ended", "is_kept": False}
    assert ended == [line | added for line in manifest]


def test_process_exits_with_1_where_a_study_failed(
    simulator: Simulator, studies: Path, tmp_path: Path
) -> None:
    study_files(studies / "failing", study_instance_uid=f"{UID}.9")
    done = milvue("process", str(studies), "--output", str(tmp_path / "out"), url=simulator.url)
    assert done.code == 1
    assert "3 done, 1 error" in done.err
    assert "the prediction failed on the server" in done.err


def test_predict_prints_what_came_back(simulator: Simulator, tmp_path: Path) -> None:
    done = milvue("predict", str(one_file(tmp_path)), url=simulator.url)
    assert done.code == 0
    assert f"study {UID}.5: done" in done.out
    assert "smarturgences: done, 2 results" in done.out
    assert "flag: " in done.out


def test_predict_reads_standard_input_and_writes_json(simulator: Simulator, tmp_path: Path) -> None:
    content = one_file(tmp_path).read_bytes()
    done = milvue("predict", "-", "--json", "--language", "fr", url=simulator.url, stdin=content)
    assert done.code == 0
    answer = json.loads(done.out)
    assert answer["outcome"] == "done"
    assert answer["predictions"]["smartxpert"]["StudyInstanceUID"] == f"{UID}.5"


def test_a_study_can_be_asked_for_fetched_and_flagged(simulator: Simulator, tmp_path: Path) -> None:
    uid, url = f"{UID}.5", simulator.url
    assert milvue("predict", str(one_file(tmp_path)), url=url).code == 0
    assert milvue("status", uid, url=url).out == f"{uid} done\n"
    assert (
        json.loads(milvue("status", "-", "--json", url=url, stdin=uid.encode()).out)["status"]
        == "done"
    )
    assert milvue("flag", uid, url=url).out == f"{uid} flagged\n"
    output = tmp_path / "fetched"
    options = ("--output", str(output), "--transfer", "signed_url", "--commands", "smartxpert")
    done = milvue("get", uid, *options, url=url)
    assert done.code == 0
    assert len(list((output / uid / "smartxpert").iterdir())) == 2
    assert not (output / uid / "smarturgences").exists()


def test_signed_urls_serve_a_whole_run(simulator: Simulator, studies: Path, tmp_path: Path) -> None:
    options = ("--output", str(tmp_path / "out"), "--transfer", "signed_url")
    done = milvue("process", str(studies), *options, url=simulator.url)
    assert done.code == 0
    for account in simulator.account.values():
        assert account.submissions == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("status", "1.2"), "set MILVUE_API_URL"),
        (("status", "1.2", "--api-url", "http://127.0.0.1:1"), "set MILVUE_API_TOKEN"),
        (("status", "1.2", "--api-url", "ftp://host", "--token", "x"), "not an http(s) URL"),
        (("status", "../..", "--api-url", "http://127.0.0.1:1", "--token", "x"), "not a DICOM UID"),
        (("predict",), "Missing argument"),
        (("process", "nowhere"), "Missing option '--output'"),
        (("get", "1.2"), "give --output for files, or --json"),
        (("transmogrify",), "No such command"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(
    arguments: tuple[str, ...], said: str
) -> None:
    done = milvue(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_folder_that_is_none_is_exit_code_2(simulator: Simulator, tmp_path: Path) -> None:
    options = ("--output", str(tmp_path / "out"))
    done = milvue("process", str(tmp_path / "nowhere"), *options, url=simulator.url)
    assert done.code == 2
    assert done.err.startswith("milvue-async: ")
    assert "is no folder" in done.err


def test_a_file_that_is_no_dicom_is_one_clear_line_and_nothing_is_sent(
    simulator: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear colleague")
    done = milvue("predict", str(file), url=simulator.url)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"milvue-async: {file}: not a DICOM Part 10 file (no DICM prefix)\n"
    assert simulator.account == {}


def test_options_win_over_the_environment(simulator: Simulator, tmp_path: Path) -> None:
    file = str(one_file(tmp_path))
    options = ("--api-url", simulator.url, "--token", TOKEN)
    assert milvue("predict", file, *options, url="http://127.0.0.1:1").code == 0


def test_debug_shows_what_happens_but_never_the_key(simulator: Simulator) -> None:
    done = milvue("--debug", "status", f"{UID}.404", url=simulator.url)
    assert done.code == 1
    assert "HTTP 404" in done.err
    assert "Traceback" in done.err
    assert TOKEN not in done.err


def test_a_refused_key_stops_the_run(studies: Path, tmp_path: Path) -> None:
    keys = SimulatorConfig(api_keys=frozenset({"11111111-1111-4111-8111-111111111111"}))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(keys)) as simulator,
    ):
        done = milvue("process", str(studies), "--output", str(tmp_path / "o"), url=simulator.url)
    assert done.code == 1
    assert "HTTP 403" in done.err
    assert TOKEN not in done.err


def test_version_and_help_are_there() -> None:
    assert milvue("--version").out.startswith("milvue-async, version ")
    for name in ("demo", "process", "predict", "status", "get", "flag", "simulate"):
        done = milvue(name, "--help")
        assert done.code == 0
        assert name in done.out
