"""What every contender does around its work: take its arguments, measure itself, report."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONCURRENCY", "contend"]

CONCURRENCY = 8  # requests at once
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in one of ru_maxrss


def contend(work: Callable[[str, list[list[Path]], Path], None]) -> None:
    """Run a contender's work and print its figures as one line of JSON.

    Args:
        work: Takes the peer's URL, the files of each study, and a folder to write to.
    """
    url, folder, output = sys.argv[1:4]
    studies = [sorted(study.iterdir()) for study in sorted(Path(folder).iterdir())]
    imported = _peak_rss()
    cpu, started = time.process_time(), time.perf_counter()
    work(url, studies, Path(output))
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss": _peak_rss(),
        "import_rss": imported,
    }
    print(json.dumps(figures))


def _peak_rss() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
