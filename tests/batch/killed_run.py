"""Run the command line, and die by SIGKILL before or after one of the ledger's commits.

Arguments: the number of the commit, from 1; ``before`` or ``after``; those of the command line.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from milvue_async.batch.ledger import Ledger
from milvue_async.cli import run

_commit = Ledger._commit  # noqa: SLF001  the moments at which to die are inside it
_commits = 0


def _mortal(ledger: Ledger, changes: Any) -> None:
    global _commits  # noqa: PLW0603  it counts over the whole process
    _commits += 1
    is_last = _commits == int(sys.argv[1])
    if is_last and sys.argv[2] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    _commit(ledger, changes)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Ledger._commit = _mortal  # type: ignore[assignment, method-assign]  # noqa: SLF001  as above
    sys.exit(run(sys.argv[3:]))
