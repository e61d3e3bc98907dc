"""The time of a simulator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SimulatorClock"]


class SimulatorClock:
    """Seconds that only grow, and that can be put forward.

    Args:
        source: What it goes by. None: seconds since 1970 (Unix time), from when it was made on
            without the jumps of the system's clock.
    """

    def __init__(self, source: Callable[[], float] | None = None) -> None:
        self._source = source or _steady()
        self.ahead = 0.0

    def __call__(self) -> float:
        """The time."""
        return self._source() + self.ahead

    def put(self, ahead: float) -> None:
        """Put it forward.

        Args:
            ahead: How far ahead of its source it is from now on, in seconds.

        Raises:
            ValueError: That would put it back.
        """
        if not self.ahead <= ahead < float("inf"):
            msg = f"the clock is {self.ahead} s ahead, and only goes forward"
            raise ValueError(msg)
        self.ahead = ahead


def _steady() -> Callable[[], float]:
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
