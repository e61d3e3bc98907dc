"""``milvue-async simulate`` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Simulating", "simulating"]

_STOP_SECONDS = 20


@dataclass(frozen=True)
class Simulating:
    """A simulator that runs.

    Attributes:
        process: Its process.
        line: What it said once it listened.
    """

    process: subprocess.Popen[str]
    line: str

    @property
    def url(self) -> str:
        return next(word for word in self.line.split() if word.startswith("http://"))

    def end(self, number: int) -> tuple[int, str]:
        """Send it a signal; its exit code, and all it said on standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=_STOP_SECONDS)
        return self.process.returncode, said


@contextmanager
def simulating(*options: str) -> Iterator[Simulating]:
    """Start a simulator on a free port; it is terminated at the end if it still runs."""
    command = [sys.executable, "-m", "milvue_async", "simulate", "--port", "0", *options]
    with subprocess.Popen(  # noqa: S603  our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Simulating(process, process.stdout.readline())
        finally:
            process.terminate()
            process.communicate(timeout=_STOP_SECONDS)
