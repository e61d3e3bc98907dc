"""What a user does to a running command: reads along, interrupts it, kills it, starts it again."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import ROOT, TOKEN, command, environment, milvue
from tests.dicom_files import pydicom_files, study_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UID = "1.2.826.0.1.3680043.10.2"
_SECONDS = 30.0


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulator whose predictions take half a second."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            Simulator(SimulatorConfig(inference_seconds=0.5))
        ) as running,
    ):
        yield running


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_run_that_is_broken_off_is_finished_by_the_same_command_and_nothing_is_sent_twice(
    simulator: Simulator, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    for number in range(12):
        study_files(folder / str(number), study_instance_uid=f"{UID}.{number}")
    arguments = ("process", str(folder), "--output", str(output))
    with subprocess.Popen(  # noqa: S603  this package's own command
        command(*arguments), env=environment(simulator.url), stderr=subprocess.PIPE
    ) as running:
        until(lambda: len(simulator.account) >= 3)
        running.send_signal(sent)
        _, err = running.communicate(timeout=_SECONDS)
    assert running.returncode == code
    assert b"Traceback" not in err
    done = milvue(*arguments, url=simulator.url)
    assert done.code == 0, done.err
    accounts = simulator.account
    assert len(accounts) == 12
    assert {account.submissions for account in accounts.values()} == {1}
    assert not list(output.rglob("*.partial"))


def test_a_terminal_gets_a_live_bar(simulator: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    study_files(folder, study_instance_uid=f"{UID}.50")
    parent, child = pty.openpty()
    arguments = command("process", str(folder), "--output", str(tmp_path / "out"))
    terminal = environment(simulator.url) | {"TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(arguments, env=terminal, stderr=child) as running:  # noqa: S603  ours
        os.close(child)
        seen = _read_all(parent)
        assert running.wait(_SECONDS) == 0
    os.close(parent)
    assert "\x1b[" in seen
    assert "wait" in seen
    assert re.search(r"1 done; results in", seen)


def _read_all(descriptor: int) -> str:
    seen = b""
    while select.select([descriptor], [], [], _SECONDS)[0]:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end has closed.
            break
        if not block:
            break
        seen += block
    return seen.decode()


def test_the_demo_ends_with_a_results_folder(tmp_path: Path) -> None:
    done = milvue("demo", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "6 done; results in milvue-demo" in done.err
    output = tmp_path / "milvue-demo"
    assert len(list(output.glob("*/smarturgences.json"))) == 6
    assert len(list(output.glob("*/smarturgences/*.dcm"))) == 8 + 6  # captures, and recaps
    again = milvue("demo", cwd=tmp_path)
    # Its simulator is another one each time, which knows nothing of before.
    assert (again.code, "6 done; results in milvue-demo" in again.err) == (0, True)


def test_simulate_serves_until_it_is_interrupted() -> None:
    with subprocess.Popen(  # noqa: S603  this package's own command
        command("simulate", "--port", "0"),
        env=environment(None) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url is not None, line
        asked = milvue("status", "1.2.3", url=url[0])
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=_SECONDS)
    assert asked.code == 1
    assert "HTTP 404" in asked.err
    assert running.returncode == 130
    assert "Traceback" not in err


def test_the_example_is_used_like_the_vendors(simulator: Simulator, tmp_path: Path) -> None:
    files = [str(file) for file in study_files(tmp_path, study_instance_uid=f"{UID}.60")]
    done = subprocess.run(  # noqa: S603  this repository's own example
        [sys.executable, str(ROOT / "examples" / "predict_study.py"), *files],
        env=environment(simulator.url),
        capture_output=True,
        timeout=_SECONDS,
        check=True,
        text=True,
    )
    for said in ("smarturgences dicoms:", "smarturgences json:", "smartxpert json:"):
        assert said in done.stdout
    assert {account.submissions for account in simulator.account.values()} == {1}
    assert TOKEN not in done.stdout + done.stderr


def test_all_of_pydicoms_files_as_one_directory_crash_nothing(
    simulator: Simulator, tmp_path: Path
) -> None:
    folder = pydicom_files()[0].parent.parent
    output = tmp_path / "out"
    done = milvue("process", str(folder), "--output", str(output), url=simulator.url)
    assert done.code == 0, done.err
    set_aside = (output / "set_aside.csv").read_text().splitlines()[1:]
    accounts = simulator.account.values()
    sent = sum(len(account.instances) for account in accounts)
    files = sum(1 for path in folder.rglob("*") if path.is_file())
    indexes = {path for path in folder.rglob("DICOMDIR*") if path.is_file()}
    assert sent + len(set_aside) + len(indexes) == files
    assert all(line.rstrip() for line in set_aside)
