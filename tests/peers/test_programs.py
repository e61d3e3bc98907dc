"""The helper that starts external programs, and the rule that CI skips nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ProgramError, free_port, require, require_file, running

ROOT = Path(__file__).parents[2]
LISTENER = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("listens", flush=True)
time.sleep(60)
"""
SKIPPING = {
    "test_one_by_one.py": """
import pytest

@pytest.mark.skip(reason="no such program")
def test_of_a_program():
    pass

def test_of_another_program():
    pytest.skip("no such server")

def test_of_the_document():
    pytest.skip("reference document not here: ask for it")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    assert False
""",
    "test_as_a_whole.py": """
import pytest

pytest.skip("no such library", allow_module_level=True)
""",
}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_listening(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def test_a_program_runs_as_long_as_its_with_statement(tmp_path: Path) -> None:
    port = free_port()
    assert not is_listening(port)
    command = [sys.executable, "-c", LISTENER, str(port)]
    with running(command, folder=tmp_path, ready="listens") as program:
        assert is_listening(port)
        assert is_alive(program.pid)
    assert not is_listening(port)
    assert not is_alive(program.pid)


def test_a_program_is_stopped_when_the_test_fails(tmp_path: Path) -> None:
    pids = []

    def fail() -> None:
        with running([sys.executable, "-c", LISTENER, "0"], folder=tmp_path, ready="listens") as it:
            pids.append(it.pid)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not is_alive(pids[0])


def test_a_program_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUBBORN]
    with running(command, folder=tmp_path, ready="listens", patience=0.2) as program:
        assert is_alive(program.pid)
    assert not is_alive(program.pid)


def test_a_program_that_ends_at_once_is_told_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no licence')"]
    with (
        pytest.raises(ProgramError, match="ended with 1: no licence"),
        running(command, folder=tmp_path, ready="listens"),
    ):
        pass


def test_a_program_that_never_gets_ready_is_given_up_and_stopped(tmp_path: Path) -> None:
    port = free_port()
    with (
        pytest.raises(ProgramError, match=r"not ready after 2 s: listens"),
        running(
            [sys.executable, "-c", LISTENER, str(port)],
            folder=tmp_path,
            ready="serves",
            timeout=2,
        ),
    ):
        pass
    assert not is_listening(port)


def test_a_missing_program_skips_and_says_how_it_is_installed() -> None:
    with pytest.raises(
        pytest.skip.Exception, match=r"no-such-program is not installed \(by hand\)"
    ):
        require("no-such-program", install="by hand")
    with pytest.raises(pytest.skip.Exception, match=r"b\.so is not installed \(by hand\)"):
        require_file("/nowhere/b.so", "/nowhere/else/b.so", install="by hand")


def test_an_installed_program_is_found(tmp_path: Path) -> None:
    assert require("sh", install="it is everywhere").name == "sh"
    there = tmp_path / "b.so"
    there.touch()
    assert require_file("/nowhere/b.so", str(there), install="by hand") == there


def run_of_skipping_tests(folder: Path, **environment: str) -> str:
    """What a test run of its own says that has this project's rules and tests that skip."""
    for name, text in SKIPPING.items():
        (folder / name).write_text(text)
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    options = ["-p", "no:cacheprovider", "-p", "tests.conftest", "-c", os.devnull]
    command = [sys.executable, "-m", "pytest", *options, "--continue-on-collection-errors"]
    finished = subprocess.run(  # noqa: S603  the tests' own command, no shell
        [*command, "--rootdir", str(folder), str(folder)],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return finished.stdout


def test_a_skip_is_a_failure_in_ci(tmp_path: Path) -> None:
    said = run_of_skipping_tests(tmp_path, CI="true")
    assert "1 failed, 1 skipped, 1 xfailed, 2 errors" in said
    for what in ("program", "server", "library"):
        assert f"skipped, which in CI is a failure: Skipped: no such {what}" in said


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    assert "4 skipped, 1 xfailed" in run_of_skipping_tests(tmp_path)
