"""How fast one client may ask, over all studies: under a rate, and slower after refusals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milvue_async.errors import QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import Callable

    from milvue_async.errors import MilvueError

__all__ = ["Pace"]

_FIRST_PAUSE = 0.25
_PAUSE_CAP = 30.0
_SLOWEST = 1.0
_RECOVERY = 1.05


@dataclass(slots=True)
class Pace:
    """How fast questions may follow each other; slower for all after a refusal."""

    rate: float
    clock: Callable[[], float]
    _now_rate: float = 0.0
    _next: float = -math.inf
    _failures: int = 0

    def __post_init__(self) -> None:
        self._now_rate = self.rate

    @property
    def next(self) -> float:
        """When the next question may be asked."""
        return self._next

    @property
    def current(self) -> float:
        """Questions a second at present."""
        return self._now_rate

    def took(self) -> None:
        """A question is asked now."""
        self._next = max(self._next, self.clock()) + 1.0 / self._now_rate

    def answered(self) -> None:
        """An answer came."""
        self._failures = 0
        self._now_rate = min(self.rate, self._now_rate * _RECOVERY)

    def failed(self, error: MilvueError, chance: float) -> None:
        """There was none, and the next one will not be there at once either."""
        self._failures += 1
        pause = min(_PAUSE_CAP, _FIRST_PAUSE * 2.0 ** min(self._failures, 16)) * (0.5 + chance / 2)
        if isinstance(error, QuotaExceededError):
            self._now_rate = max(_SLOWEST, self._now_rate / 2)
            pause = max(pause, error.retry_after or 0.0)
        self._next = max(self._next, self.clock() + pause)
