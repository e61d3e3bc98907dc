"""Asking until there is an answer, through tenacity, within a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from milvue_async.protocol.backoff import PollSchedule
    from milvue_async.retrying import Clock

__all__ = ["poll"]

# The last question is asked at the deadline, and its answer takes a moment too.
_LAST_ANSWER_SECONDS = 10.0

T = TypeVar("T")


class _Questions:
    """Decides when the next question is asked."""

    def __init__(self, schedule: PollSchedule, clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock
        self._started = clock.monotonic()
        self._delay: float | None = None

    def wait(self, state: RetryCallState) -> float:
        """Seconds until the next question; tenacity asks this before `stop`."""
        self._delay = self._schedule.delay(
            state.attempt_number,
            elapsed=self._clock.monotonic() - self._started,
            random=self._clock.random(),
        )
        return self._delay or 0.0

    def stop(self, _: RetryCallState) -> bool:
        """Whether that was the last question."""
        return self._delay is None


async def poll(
    ask: Callable[[], Awaitable[T]],
    is_pending: Callable[[T], bool],
    *,
    schedule: PollSchedule,
    clock: Clock,
    last_answer_seconds: float = _LAST_ANSWER_SECONDS,
) -> T | None:
    """Ask until the answer is final.

    Args:
        ask: One question.
        is_pending: Whether an answer means "not yet".
        schedule: Delays between questions, and the deadline.
        clock: Time and chance.
        last_answer_seconds: Seconds beyond the deadline after which even a question that is being
            answered is given up.

    Returns:
        The final answer, or None where there was none before the deadline.
    """
    questions = _Questions(schedule, clock)
    with anyio.move_on_after(schedule.timeout + last_answer_seconds):
        first = await ask()
        if not is_pending(first):  # most often so, and without what tenacity costs
            return first
        answers = [first]

        async def next_answer() -> T:
            return answers.pop() if answers else await ask()

        asking = AsyncRetrying(
            sleep=clock.sleep,
            wait=questions.wait,
            stop=questions.stop,
            retry=retry_if_result(is_pending),
            retry_error_callback=lambda _: None,
        )
        answer: T | None = await asking(next_answer)
        return answer
    return None
