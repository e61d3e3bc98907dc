"""When to try again and when to ask again: pure schedules, with time and chance handed in.

Full jitter and the retry budget follow what botocore does ("Exponential Backoff and Jitter", its
standard retry mode): a sick server gets few retries, whatever the number of studies in flight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["PollSchedule", "RetryBudget", "RetrySchedule", "parse_retry_after"]

_RETRY_AFTER_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """Delays between the tries of one request.

    Attributes:
        attempts: Tries in all, the first included.
        timeout: Seconds from the first try within which the last may start.
        base: Seconds; the upper bound of the first delay, doubled for each next.
        cap: Seconds; the upper bound of any delay that the server did not ask for.
    """

    attempts: int = 6
    timeout: float = 300.0
    base: float = 0.5
    cap: float = 20.0

    def delay(
        self, attempt: int, *, elapsed: float, random: float, retry_after: float | None = None
    ) -> float | None:
        """Seconds to wait after the failed try number ``attempt`` (from 1), or None to stop.

        Args:
            attempt: Tries made so far.
            elapsed: Seconds since the first try began.
            random: A number in [0, 1).
            retry_after: Seconds the server asked to wait (RFC 9110 section 10.2.3).
        """
        if attempt >= self.attempts:
            return None
        delay = random * min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))
        if retry_after is not None:
            # Everybody who was refused at once must not come back at once.
            delay = retry_after + delay * _RETRY_AFTER_SPREAD
        return delay if elapsed + delay <= self.timeout else None


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """Delays between questions for a status: growing, jittered, capped.

    Attributes:
        interval: Seconds before the second question.
        cap: Seconds between two questions at most.
        growth: Factor from one delay to the next.
        jitter: Share of a delay that chance may take off, in [0, 1).
        timeout: Seconds after the first question within which the last is asked.
    """

    interval: float = 1.0
    cap: float = 10.0
    growth: float = 1.5
    jitter: float = 0.25
    timeout: float = 180.0

    def delay(self, attempt: int, *, elapsed: float, random: float) -> float | None:
        """Seconds to wait after question number ``attempt`` (from 1), or None to stop.

        The last question is asked at the deadline itself, so that an answer that came just in
        time is not missed.

        Args:
            attempt: Questions asked so far.
            elapsed: Seconds since the first question.
            random: A number in [0, 1).
        """
        if elapsed >= self.timeout:
            return None
        grown = self.interval * self.growth ** min(attempt - 1, 64)
        delay = min(self.cap, grown) * (1.0 - self.jitter * random)
        return min(delay, self.timeout - elapsed)


@dataclass(slots=True)
class RetryBudget:
    """Tokens shared by all the requests of a client: a retry takes some, a success returns one.

    Attributes:
        capacity: Tokens there are at first, and at most.
        cost: Tokens that a retry takes.
        timeout_cost: Tokens that a retry after a time-out takes.
    """

    capacity: int = 500
    cost: int = 5
    timeout_cost: int = 10
    _left: int = field(default=-1, repr=False)

    def __post_init__(self) -> None:
        self._left = self.capacity

    @property
    def left(self) -> int:
        """Tokens left."""
        return self._left

    def take(self, *, timed_out: bool = False) -> bool:
        """Take what a retry costs; False where too little is left, and then nothing is taken."""
        cost = self.timeout_cost if timed_out else self.cost
        if cost > self._left:
            return False
        self._left -= cost
        return True

    def refund(self) -> None:
        """Return one token: a request succeeded."""
        self._left = min(self.capacity, self._left + 1)


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (RFC 9110 section 10.2.3), or None.

    Args:
        value: The header: seconds, or an HTTP date.
        now: The server's time by its ``Date`` header, for the second form; without it a date
            cannot be read.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    when = parse_http_date(text)
    if when is None or now is None:
        return None
    return max(0.0, (when - now).total_seconds())


def parse_http_date(value: str | None) -> datetime | None:
    """An HTTP date (RFC 9110 section 5.6.7) in UTC, or None where it is none."""
    try:
        when = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
