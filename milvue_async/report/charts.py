"""Geometry of the page's charts: how many studies of each kind, and how long they took."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Bar", "Histogram", "bars", "histogram", "in_seconds"]

_BINS = 24
_HEIGHT = 60  # of a histogram, in the units of its viewBox; it is 240 wide
_WIDTH = 240
_MOST_BARS = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """How many studies are of one kind.

    Attributes:
        kind: An outcome or a label, as it came.
        count: Studies.
        share: Of the longest bar, from 0 to 100.
    """

    kind: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long one stage took.

    Attributes:
        name: Of the stage: ``upload``, ``predict`` or ``collect``.
        count: Studies that were in it.
        median: Seconds.
        p95: The 95th percentile, in seconds.
        greatest: Seconds that the right edge stands for.
        columns: ``(x, y, width, height)`` of each column in a viewBox of 240 by 60.
        is_cut: Whether some took longer than ``greatest``; the last column counts them too.
    """

    name: str
    count: int
    median: float
    p95: float
    greatest: float
    columns: tuple[tuple[float, float, float, float], ...]
    is_cut: bool

    def x(self, seconds: float) -> float:
        """Where so many seconds lie, from the left."""
        return round(_WIDTH * min(1.0, seconds / self.greatest), 1)


def bars(kinds: Iterable[str], order: Sequence[str]) -> list[Bar]:
    """A bar for each kind, in this order; those not in it follow, the most frequent first."""
    counts = Counter(kind for kind in kinds if kind)
    ranked = [kind for kind in order if kind in counts]
    ranked += [kind for kind, _ in counts.most_common() if kind not in order]
    longest = max(counts.values(), default=1)
    return [
        Bar(kind, counts[kind], round(100 * counts[kind] / longest, 1))
        for kind in ranked[:_MOST_BARS]
    ]


def histogram(name: str, seconds: Iterable[float]) -> Histogram | None:
    """The distribution of the times that are above 0; None where there are none."""
    times = sorted(time for time in seconds if time > 0)
    if not times:
        return None
    p95 = _percentile(times, 0.95)
    greatest = _round_up(min(times[-1], 1.6 * p95))
    counts = [0] * _BINS
    for time in times:
        counts[min(_BINS - 1, int(_BINS * time / greatest))] += 1
    width = _WIDTH / _BINS
    columns = tuple(
        (round(number * width, 1), _HEIGHT - height, width - 1, height)
        for number, height in enumerate(_heights(counts))
        if height
    )
    median = _percentile(times, 0.5)
    return Histogram(name, len(times), median, p95, greatest, columns, times[-1] > greatest)


def in_seconds(seconds: float, language: str) -> str:
    """Three digits of it where it has a fraction: ``0.05 s``, ``1.25 s``, ``12.5 s``, ``130 s``."""
    decimals = max(0, min(3, 2 - math.floor(math.log10(seconds)))) if seconds > 0 else 0
    digits = f"{seconds:.{decimals}f}"
    shown = digits.rstrip("0").rstrip(".") if decimals else digits
    return f"{shown if language == 'en' else shown.replace('.', ',')} s"


def _heights(counts: Sequence[int]) -> list[float]:
    """Those of columns; the least that is not 0 can still be seen."""
    most = max(counts)
    return [max(1.0, round(_HEIGHT * count / most, 1)) if count else 0.0 for count in counts]


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that at least this share of them does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _round_up(seconds: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, and their tenfold and so on."""
    power = 10.0 ** math.floor(math.log10(seconds))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return next((step * power for step in steps if step * power >= seconds), 10 * power)
