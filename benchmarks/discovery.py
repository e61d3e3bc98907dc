"""Discovery against a loop over `pydicom.dcmread` in one thread, on the same files in one run.

The loop reads what discovery needs and stops before the pixels. Each contender runs in a process
of its own, in turns; the imports do not count, starting the processes that read does.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import anyio
import pydicom

from milvue_async.batch.discovery import discover
from milvue_async.batch.scan_cache import ScanCache
from tests.dicom_files import instance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["main"]

_FOLDERS = 50
_INSTANCES = 4  # of each study
_ROWS = 16  # an image this small leaves the header to be measured
_TAGS = [
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "Modality",
]


def _make_files(folder: Path, files: int) -> None:
    pixels = bytes(range(256)) * (_ROWS * _ROWS * 2 // 256)
    for number in range(files):
        study = number // _INSTANCES
        dataset = instance(
            study_instance_uid=f"1.2.826.0.1.3680043.8.498.{10**30 + study}",
            number=number,
            rows=_ROWS,
            columns=_ROWS,
        )
        dataset.PixelData = pixels
        target = folder / f"{study % _FOLDERS:03}"
        target.mkdir(exist_ok=True)
        dataset.save_as(target / f"IM{number:06}", enforce_file_format=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def _pydicom_loop(folder: Path, _cache: Path) -> int:
    """As a script would do it."""
    studies: dict[str, list[Path]] = {}
    for path in _files(folder):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        studies.setdefault(dataset.StudyInstanceUID, []).append(path)
    return len(studies)


async def _bare_loop(folder: Path, _cache: Path) -> int:
    """The reading alone: no value is looked at."""
    paths = _files(folder)
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    return len(paths) // _INSTANCES


async def _discover(folder: Path, cache: Path) -> int:
    """The first time: nothing is known, and what is read is kept."""
    await anyio.Path(cache).unlink(missing_ok=True)
    return await _discover_again(folder, cache)


async def _discover_again(folder: Path, cache: Path) -> int:
    connection = sqlite3.connect(cache, isolation_level=None, check_same_thread=False)
    with closing(connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return len((await discover(folder, cache=ScanCache(connection))).studies)


_CONTENDERS: dict[str, Callable[[Path, Path], Awaitable[int]]] = {
    "bare": _bare_loop,
    "pydicom": _pydicom_loop,
    "first": _discover,
    "again": _discover_again,
}


async def _contend(name: str, folder: Path, cache: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    studies = await _CONTENDERS[name](folder, cache)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "studies": studies, "memory": (peak - before) * 1024}))


def _run(name: str, folder: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.discovery", "--contender", name]
    command += ["--folder", str(folder), "--cache", str(cache)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603  this module
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _compare(files: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="milvue-benchmark-") as name:
        folder, cache = Path(name, "files"), Path(name, "cache.sqlite")
        folder.mkdir()
        _make_files(folder, files)
        figures = [
            {contender: _run(contender, folder, cache) for contender in _CONTENDERS}
            for _ in range(rounds)
        ]
    if {run["studies"] for each in figures for run in each.values()} != {files / _INSTANCES}:
        sys.exit("not every contender found all studies")
    print(f"{files} files, {rounds} rounds, medians")
    print(f"{'':8} {'us a file':>9} {'bare loop is':>13} {'bytes a file':>13}")
    for contender in _CONTENDERS:
        seconds = median(each[contender]["seconds"] for each in figures)
        ratio = median(each["bare"]["seconds"] / each[contender]["seconds"] for each in figures)
        memory = max(each[contender]["memory"] for each in figures)
        print(f"{contender:8} {seconds / files * 1e6:9.1f} {ratio:11.2f} x {memory / files:13.0f}")


def main() -> None:
    """Compare, or be one of those that are compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", choices=list(_CONTENDERS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    if arguments.contender:
        anyio.run(_contend, arguments.contender, arguments.folder, arguments.cache)
    else:
        _compare(arguments.files, arguments.rounds)


if __name__ == "__main__":
    main()
