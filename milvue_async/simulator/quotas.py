"""How much a simulator takes before it answers 429: studies a day, and requests a second."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["QuotaError", "RequestRate", "StudyQuota"]

_DAY = 24 * 3600.0


class QuotaError(Exception):
    """The quota is used up."""


class StudyQuota:
    """So many accepted submissions in any 24 hours, over all API keys.

    Args:
        limit: How many; None for no end.
        clock: Seconds that only grow.
    """

    def __init__(self, limit: int | None, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._accepted: deque[float] = deque()
        self._pending = 0

    @contextmanager
    def admission(self) -> Iterator[None]:
        """A place in the quota, given back if the submission inside fails.

        Raises:
            QuotaError: There is none left.
        """
        if self._limit is None:
            yield
            return
        self._forget(self._clock() - _DAY)
        if len(self._accepted) + self._pending >= self._limit:
            raise QuotaError
        self._pending += 1
        try:
            yield
            self._accepted.append(self._clock())
        finally:
            self._pending -= 1

    def restore(self, accepted: Iterable[float]) -> None:
        """Start from what was accepted before: these times, or none."""
        self._accepted = deque(sorted(accepted) if self._limit is not None else ())

    def _forget(self, before: float) -> None:
        while self._accepted and self._accepted[0] <= before:
            self._accepted.popleft()


class RequestRate:
    """A token bucket over all API keys: it holds one second's worth, and at least one request.

    Args:
        rate: Requests a second; None for no end.
        clock: Seconds that only grow.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._size = max(1.0, rate or 0.0)
        self.refill()

    def refill(self) -> None:
        """Fill the bucket."""
        self._tokens = self._size
        self._filled_at = self._clock()

    def take(self) -> None:
        """Let one request through.

        Raises:
            QuotaError: The bucket is empty.
        """
        if self._rate is None:
            return
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            raise QuotaError
        self._tokens -= 1
