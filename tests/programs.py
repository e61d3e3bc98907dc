"""External programs that tests run against: found or skipped, started, waited for, stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["ProgramError", "Running", "free_port", "require", "require_file", "running"]

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on every user's PATH
_POLL_SECONDS = 0.02
_TAIL_CHARACTERS = 2000


class ProgramError(Exception):
    """A program ended, or did not get ready in time; shows the end of what it said."""


@dataclass(frozen=True)
class Running:
    """A program that said it is ready.

    Attributes:
        pid: Its process id.
        log: The file that holds its standard output and error.
    """

    pid: int
    log: Path

    def said(self) -> str:
        """All it said so far."""
        return self.log.read_text(errors="replace")


def require(name: str, *, install: str) -> Path:
    """Where a program is; the test is skipped where it is not installed.

    Args:
        name: Of its executable.
        install: How it is installed, for the person who reads why the test was skipped.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed ({install})")
    return Path(found)


def require_file(*candidates: str, install: str) -> Path:
    """The first of some files that is there; the test is skipped where none is."""
    for candidate in candidates:
        if Path(candidate).exists():
            return Path(candidate)
    pytest.skip(f"{Path(candidates[0]).name} is not installed ({install})")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, for programs that cannot choose their own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    folder: Path,
    ready: str,
    timeout: float = 30.0,
    patience: float = 15.0,
) -> Iterator[Running]:
    """Run a program for as long as the ``with`` lasts; only the process started here is ended.

    Args:
        command: The program and its arguments.
        folder: Its working folder, where its output is kept as ``output.log``.
        ready: What it says once it listens. A port that answers could be somebody else's.
        timeout: Seconds until it must have said so.
        patience: Seconds that it has to end when it is asked to; then it is killed.

    Raises:
        ProgramError: It ended before it was ready, or was not ready in time.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  the tests' own command, no shell
            list(map(str, command)),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        started = Running(process.pid, log)
        _wait_ready(process, started, ready, timeout)
        yield started
    finally:
        _stop(process, patience)


def _wait_ready(
    process: subprocess.Popen[bytes], started: Running, ready: str, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while ready not in started.said():
        code = process.poll()
        if code is not None:
            raise ProgramError(f"it ended with {code}: {started.said()[-_TAIL_CHARACTERS:]}")
        if time.monotonic() > deadline:
            raise ProgramError(
                f"not ready after {timeout:g} s: {started.said()[-_TAIL_CHARACTERS:]}"
            )
        time.sleep(_POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes], patience: float) -> None:
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
