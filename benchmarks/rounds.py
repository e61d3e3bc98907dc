"""Run contenders against each other, each in a process of its own, and show what came out."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Size", "compare", "parse_size"]

_MEBIBYTE = 1 << 20


class Figures(TypedDict):
    """What a contender measures of itself; bytes and seconds."""

    seconds: float
    cpu_seconds: float
    peak_rss: int
    import_rss: int


@dataclass(frozen=True, slots=True)
class Size:
    """What every contender moves, and how often."""

    studies: int
    instances: int
    mebibytes: int
    rounds: int


def parse_size(description: str) -> Size:
    """The size as the command line has it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--instances", type=int, default=2, help="of each study")
    parser.add_argument("--mebibytes", type=int, default=8, help="of each instance's pixels")
    parser.add_argument("--rounds", type=int, default=5)
    return Size(**vars(parser.parse_args()))


def compare(size: Size, contenders: tuple[str, ...]) -> None:
    """Run all contenders in every round, each round beginning with another, and print a table.

    Args:
        size: What is moved.
        contenders: Modules of `benchmarks.contenders`; the first is what the others are beside.
    """
    with tempfile.TemporaryDirectory(prefix="milvue-benchmark-") as name:
        folder = Path(name)
        studies = _make_studies(folder, size)
        with _peer(min(studies.iterdir())) as url:
            figures = _rounds(size.rounds, contenders, url, studies)
    _show(size, figures)


def _rounds(
    rounds: int, contenders: tuple[str, ...], url: str, studies: Path
) -> dict[str, list[Figures]]:
    figures: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(rounds):
        first = number % len(contenders)
        for name in (*contenders[first:], *contenders[:first]):
            with tempfile.TemporaryDirectory(dir=studies.parent) as output:
                printed = _run(f"benchmarks.contenders.{name}", url, str(studies), output)
            figures[name].append(json.loads(printed))
    return figures


def _make_studies(folder: Path, size: Size) -> Path:
    studies = folder / "studies"
    arguments = map(str, (size.studies, size.instances, size.mebibytes))
    _run("benchmarks.studies", str(studies), *arguments)
    for path in studies.rglob("*.dcm"):  # into the page cache
        path.read_bytes()
    return studies


@contextmanager
def _peer(results: Path) -> Iterator[str]:
    with subprocess.Popen(  # noqa: S603  a module of this package
        _command("benchmarks.peer", str(results)), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


def _run(module: str, *arguments: str) -> bytes:
    command = _command(module, *arguments)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603  the same


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _show(size: Size, figures: dict[str, list[Figures]]) -> None:
    moved = size.studies * size.instances * size.mebibytes * _MEBIBYTE
    reference = next(iter(figures.values()))
    print(f"{moved / 1e6:.0f} MB, {size.rounds} rounds, medians (peak memory: highest)")
    print(f"{'':26} {'MB/s':>6} {'first is':>9} {'CPU s/GB':>9} {'peak MB':>8} {'imports MB':>11}")
    for name, rounds in figures.items():
        seconds = median(run["seconds"] for run in rounds)
        cpu = median(run["cpu_seconds"] for run in rounds)
        ratio = median(
            run["seconds"] / first["seconds"] for run, first in zip(rounds, reference, strict=True)
        )
        peak = max(run["peak_rss"] for run in rounds)
        imported = median(run["import_rss"] for run in rounds)
        print(
            f"{name:26} {moved / 1e6 / seconds:6.0f} {ratio:7.2f} x {cpu / moved * 1e9:9.2f}"
            f" {peak / 1e6:8.1f} {imported / 1e6:11.1f}"
        )
