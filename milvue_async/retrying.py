"""Time and chance, and how they decide, through tenacity, whether a request is tried again."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Protocol

import anyio

from milvue_async.errors import MilvueError, RequestTimeoutError

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from milvue_async.protocol.backoff import RetryBudget, RetrySchedule

__all__ = ["Clock", "SystemClock", "Tries", "is_retryable"]

_LOG = logging.getLogger("milvue_async")


class Clock(Protocol):
    """Time and chance, handed in so that tests never wait."""

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def random(self) -> float:
        """A number in [0, 1)."""


class SystemClock:
    """The machine's own clock and chance."""

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable."""
        await anyio.sleep(seconds)

    def random(self) -> float:
        """A number in [0, 1); spreads retries, protects nothing."""
        return random.random()  # noqa: S311  jitter, not a secret


class Tries:
    """Decides whether one request is tried again, and when.

    Args:
        schedule: The delays.
        budget: Shared by all requests of a client.
        clock: Time and chance.

    Attributes:
        in_doubt: Whether a try before this one may have reached the server.
    """

    def __init__(self, schedule: RetrySchedule, budget: RetryBudget, clock: Clock) -> None:
        self._schedule = schedule
        self._budget = budget
        self._clock = clock
        self._started: float | None = None
        self._delay: float | None = None
        self.in_doubt = False

    def begin(self) -> None:
        """Say that a try begins; the time runs from the first, not from the wait for a slot."""
        if self._started is None:
            self._started = self._clock.monotonic()

    def wait(self, state: RetryCallState) -> float:
        """Seconds until the next try; tenacity asks this before `stop`."""
        error = _failure(state)
        # Doubt stays: a later refusal does not show that the first try never arrived.
        self.in_doubt = self.in_doubt or error.in_doubt
        self._delay = self._schedule.delay(
            state.attempt_number,
            elapsed=self._elapsed(),
            random=self._clock.random(),
            retry_after=getattr(error, "retry_after", None),
        )
        timed_out = isinstance(error, RequestTimeoutError)
        if self._delay is not None and not self._budget.take(timed_out=timed_out):
            self._delay = None
        error.in_doubt = self.in_doubt
        return self._delay or 0.0

    def _elapsed(self) -> float:
        return 0.0 if self._started is None else self._clock.monotonic() - self._started

    def stop(self, state: RetryCallState) -> bool:
        """Whether that was the last try."""
        if self._delay is not None:
            _LOG.info(
                "try %d failed, next in %.1f s: %s",
                state.attempt_number,
                self._delay,
                _failure(state),
            )
        return self._delay is None


def _failure(state: RetryCallState) -> MilvueError:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, MilvueError):  # pragma: no cover  # `is_retryable` lets no other by
        raise TypeError
    return error


def is_retryable(error: BaseException) -> bool:
    """Whether the same request may succeed later; never so for a cancellation."""
    return isinstance(error, MilvueError) and error.retryable
