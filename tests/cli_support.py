"""Running the command line as a user does: a process of its own against a simulator."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "TOKEN", "Finished", "command", "environment", "milvue"]

TOKEN = "22209633-26ea-4b35-a197-e55c375dc36f"  # noqa: S105  the document's own example of a key
ROOT = Path(__file__).parent.parent
_SECONDS = 60


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    """The command line of ``milvue-async`` with these arguments."""
    return [sys.executable, "-m", "milvue_async", *arguments]


def environment(url: str | None) -> dict[str, str]:
    """The variables that a user sets; none of them where there is no URL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILVUE_")}
    # The tests' own warnings are errors; so are the command's.
    kept |= {"PYTHONWARNINGS": "error", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    return kept if url is None else kept | {"MILVUE_API_URL": url, "MILVUE_API_TOKEN": TOKEN}


def milvue(
    *arguments: str,
    url: str | None = None,
    stdin: bytes = b"",
    cwd: Path | None = None,
    seconds: float = _SECONDS,
) -> Finished:
    """Run a command to its end."""
    done = subprocess.run(  # noqa: S603  this package's own command
        command(*arguments),
        env=environment(url),
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
        cwd=cwd,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())
