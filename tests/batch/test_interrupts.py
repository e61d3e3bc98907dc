"""Ctrl-C and SIGTERM: within seconds, resumable, and at once when said twice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import requests
from anyio.from_thread import start_blocking_portal

from milvue_async.simulator import Fault, Simulator, SimulatorConfig
from tests.cli_support import command, environment, milvue
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STUDIES = 10
_SECONDS = 30.0


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            Simulator(SimulatorConfig(inference_seconds=3))
        ) as running,
    ):
        yield running


@pytest.fixture
def arguments(tmp_path: Path) -> tuple[str, ...]:
    for number in range(STUDIES):
        study_files(tmp_path / "in", instances=1, study_instance_uid=f"1.2.{number}", seed=number)
    output = str(tmp_path / "out")
    return ("process", str(tmp_path / "in"), "--output", output, "--no-report", "--json")


def interrupted(
    simulator: Simulator,
    arguments: tuple[str, ...],
    is_time: Callable[[str], bool],
    *signals: signal.Signals,
) -> tuple[int, float, str]:
    """The exit code, the seconds from the first signal to the end, and what was said."""
    with subprocess.Popen(  # noqa: S603  this package's own command
        command(*arguments),
        env=environment(simulator.url) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if is_time(line):
                break
        begun = time.monotonic()
        for sent in signals:
            running.send_signal(sent)
            time.sleep(0.3)  # two at the same moment are one
        _, err = running.communicate(timeout=_SECONDS)
    return running.returncode, time.monotonic() - begun, err


def stage(name: str) -> Callable[[str], bool]:
    return lambda line: json.loads(line).get("stage") == name


def check_resumed(simulator: Simulator, arguments: tuple[str, ...], output: Path) -> None:
    assert not list(output.rglob("*.partial"))
    morning = milvue(*arguments, url=simulator.url)
    assert morning.code == 0, morning.err
    account = simulator.account
    assert {uid: each.submissions for uid, each in account.items()} == {
        f"1.2.{number}": 1 for number in range(STUDIES)
    }
    lines = (output / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["done"] * STUDIES


@pytest.mark.parametrize(
    ("name", "sent"),
    [("upload", signal.SIGINT), ("wait", signal.SIGTERM), ("collect", signal.SIGINT)],
)
def test_one_signal_ends_a_run_within_seconds_and_leaves_it_to_be_resumed(
    simulator: Simulator,
    arguments: tuple[str, ...],
    tmp_path: Path,
    name: str,
    sent: signal.Signals,
) -> None:
    code, seconds, err = interrupted(simulator, arguments, stage(name), sent)
    assert code == 130
    assert seconds < 6.0
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    assert (tmp_path / "out" / "summary.csv").exists()
    check_resumed(simulator, arguments, tmp_path / "out")


def test_a_signal_before_anything_was_sent_leaves_nothing_behind(
    simulator: Simulator, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    code, seconds, err = interrupted(simulator, arguments, lambda _: True, signal.SIGINT)
    assert (code, "Traceback" in err) == (130, False)
    assert seconds < 6.0
    check_resumed(simulator, arguments, tmp_path / "out")


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_is_at_work(
    simulator: Simulator, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    with subprocess.Popen(  # noqa: S603  this package's own command
        command(*arguments),
        env=environment(simulator.url) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert any(stage("wait")(line) for line in running.stdout)
        second = milvue(*arguments, url=simulator.url)
        report = milvue("report", str(tmp_path / "out"))
        running.kill()
    for refused in (second, report):
        assert refused.code == 2
        assert refused.err.startswith("milvue-async: another milvue-async process is at work")
        assert refused.err.count("\n") == 1
    check_resumed(simulator, arguments, tmp_path / "out")


def test_two_signals_end_a_run_at_once(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Uploads hang, so that the first would wait for them for some seconds."""
    hanging = SimulatorConfig(
        inference_seconds=0, faults=(Fault(kind="hang_in_body", route="post_study"),)
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(hanging)) as simulator,
    ):
        twice = (signal.SIGINT, signal.SIGINT)
        code, seconds, err = interrupted(simulator, arguments, stage("upload"), *twice)
        assert (code, "Traceback" in err) == (130, False)
        assert seconds < 3.0, err
        requests.delete(f"{simulator.url}/control/faults", timeout=_SECONDS).raise_for_status()
        check_resumed(simulator, arguments, tmp_path / "out")
