"""One scheduler asks for the status of every study in flight.

It asks when an answer is likely (`protocol.expectation`), keeps all questions together under a
rate, and where the server says 429, or cannot be reached, pauses for everybody.
"""

from __future__ import annotations

import heapq
import logging
import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from milvue_async import routes
from milvue_async.concurrency import first_of
from milvue_async.errors import (
    MilvueError,
    NotFoundError,
    PredictionFailedError,
    PredictionTimeoutError,
    ProtocolError,
)
from milvue_async.pacing import Pace
from milvue_async.protocol.expectation import Expectation
from milvue_async.protocol.models import StudyStatusEnum
from milvue_async.protocol.requests import STATUS_ROUTE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from milvue_async.transport import Transport

__all__ = ["PollScheduler"]

_LOG = logging.getLogger("milvue_async")
_LEAST_SECONDS = 0.1
_AT_ONCE = 16
_SHARE_OF_RATE = 0.5  # of which the studies that may end next are asked; the rest is reserve
_PROBE_EVERY = 40  # one question in so many goes to a study that is not expected to end yet
_EXPLORE_EVERY = 8  # one study in so many is asked as soon as it may end next
_TOO_MANY = 1.5  # times the places, from which on studies are not asked for any more
# Right after a submission another server of theirs may not know the study yet; and an answer that
# is garbage, as of a portal on the way, says nothing of the study.
_PASSING = (NotFoundError, ProtocolError)
_PASSING_TIMES = 3


@dataclass(slots=True, eq=False)
class _Waiting:
    """A study whose prediction is waited for."""

    number: int
    study_instance_uid: str
    on_end: Callable[[MilvueError | None], Awaitable[None]]
    submitted_at: float
    eligible_at: float | None = None
    running_at: float | None = None
    questions: int = 0
    failures: int = 0
    due: float = math.inf
    is_asked: bool = False

    def __lt__(self, other: _Waiting) -> bool:
        return self.number < other.number


class PollScheduler:
    """Waits for predictions; `run` is to be a task beside those that `add`.

    Args:
        transport: The connection.
        timeout: Seconds that a prediction may take, counted from the submission or, if that was
            later, from when the last of the other predictions ended: a queue that moves is no
            standstill.
        rate: Questions a second at most, all studies together.
        on_question: Called when one is asked.

    Attributes:
        questions: How many were asked.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout: float,
        rate: float = 200.0,
        on_question: Callable[[], None] = lambda: None,
    ) -> None:
        settings, self._clock = transport.settings, transport.clock
        self._transport = transport
        self._timeout = timeout
        self._pace = Pace(rate, self._clock.monotonic)
        self._expectation = Expectation(
            first=settings.poll_interval,
            cap=max(settings.poll_cap, settings.poll_interval),
            least=min(_LEAST_SECONDS, settings.poll_interval),
        )
        self._on_question = on_question
        self._least = self._expectation.least
        self._running: list[_Waiting] = []
        self._due: list[tuple[float, int, _Waiting]] = []
        self._eligible = 0
        self._promoted = 0
        self._probe_at = -math.inf
        self._probe_from = 0
        self._progress_at = -math.inf
        self._expiry_at = math.inf
        self._numbers = 0
        self._asking = anyio.Semaphore(_AT_ONCE)
        self._changed = anyio.Event()
        self.questions = 0

    def __len__(self) -> int:
        return len(self._running)

    def add(
        self,
        study_instance_uid: str,
        on_end: Callable[[MilvueError | None], Awaitable[None]],
    ) -> None:
        """Wait for a study from now on.

        Args:
            study_instance_uid: Submitted before.
            on_end: Awaited once: with None where the prediction is done, else with the error,
                which is `PredictionFailedError`, `PredictionTimeoutError`, or why the API could
                not be asked.
        """
        now = self._clock.monotonic()
        self._numbers += 1
        insort(self._running, _Waiting(self._numbers, study_instance_uid, on_end, now))
        self._expiry_at = min(self._expiry_at, now + self._timeout)
        self._promote()
        self._wake()

    async def wait(self, study_instance_uid: str) -> None:
        """Wait for a study until its prediction is done; arguments and errors as `add`.

        Raises:
            MilvueError: It failed, did not end in time, or the API could not be asked.
        """
        ended = anyio.Event()
        errors: list[MilvueError] = []

        async def on_end(error: MilvueError | None) -> None:
            if error is not None:
                errors.append(error)
            ended.set()

        self.add(study_instance_uid, on_end)
        await ended.wait()
        if errors:
            raise errors[0]

    async def run(self) -> None:
        """Ask, until cancelled."""
        async with anyio.create_task_group() as group:
            while True:
                self._changed = anyio.Event()
                pause = self._next_at() - self._clock.monotonic()
                if pause > 0:
                    await self._pause(pause)
                    continue
                await self._ask_next(group)

    async def _pause(self, seconds: float) -> None:
        if math.isinf(seconds):
            await self._changed.wait()
        else:
            await first_of(lambda: self._clock.sleep(seconds), self._changed.wait)

    def _wake(self) -> None:
        self._changed.set()

    def _next_at(self) -> float:
        """When there is something to do."""
        while self._due and self._due[0][0] != self._due[0][2].due:
            heapq.heappop(self._due)
        due = self._due[0][0] if self._due else math.inf
        if len(self._running) > self._eligible:
            due = min(due, self._probe_at)
        if self._running:
            due = min(due, self._expiry_at)
        return max(due, self._pace.next)

    async def _ask_next(self, group: TaskGroup) -> None:
        now = self._clock.monotonic()
        if now >= self._expiry_at:
            self._expire(now)
        study = self._probed(now) or self._first_due(now)
        if study is None:
            return
        await self._asking.acquire()
        self._pace.took()
        self.questions += 1
        self._on_question()
        study.is_asked = True
        lag = max(0.0, now - study.due) if math.isfinite(study.due) else 0.0
        study.due = math.inf
        group.start_soon(self._ask, study, lag)

    def _first_due(self, now: float) -> _Waiting | None:
        while self._due and self._due[0][0] <= now:
            due, _, study = heapq.heappop(self._due)
            if study.due == due and not study.is_asked:
                return study
        return None

    def _probed(self, now: float) -> _Waiting | None:
        """A study that is not expected to end yet, now and then, each in its turn."""
        others = len(self._running) - self._eligible
        if now < self._probe_at or others <= 0:
            return None
        self._probe_at = now + _PROBE_EVERY / self._pace.current
        self._probe_from = (self._probe_from + 1) % others
        study = self._running[self._eligible + self._probe_from]
        return None if study.is_asked else study

    def _expire(self, now: float) -> None:
        """Ask for the last time about those whose time is over."""
        started = now - self._timeout
        self._expiry_at = math.inf
        for study in self._running:
            since = max(study.submitted_at, self._progress_at)
            if since > started:
                self._expiry_at = min(self._expiry_at, since + self._timeout)
            elif not study.is_asked:
                self._schedule(study, now)

    async def _ask(self, study: _Waiting, lag: float) -> None:
        try:
            await self._answer(study, lag)
        finally:
            study.is_asked = False
            self._asking.release()
            self._wake()

    async def _answer(self, study: _Waiting, lag: float) -> None:
        study.questions += 1
        asked_at = self._clock.monotonic()
        try:
            status = (await routes.ask_status(self._transport, study.study_instance_uid)).status
        except MilvueError as error:
            await self._failed(study, error)
            return
        self._pace.answered()
        study.failures = 0
        if status in {StudyStatusEnum.DONE, StudyStatusEnum.ERROR}:
            self._learn(study, lag)
            failed = status == StudyStatusEnum.ERROR
            await self._end(study, _failure(study) if failed else None)
            return
        study.running_at = asked_at
        await self._again(study, None)

    async def _failed(self, study: _Waiting, error: MilvueError) -> None:
        study.failures += 1
        _LOG.info("asking for a status failed: %s", error)
        if error.retryable:
            self._pace.failed(error, self._clock.random())
        elif not isinstance(error, _PASSING) or study.failures >= _PASSING_TIMES:
            await self._end(study, error)
            return
        await self._again(study, error)

    async def _again(self, study: _Waiting, error: MilvueError | None) -> None:
        """Ask again later, or give up where the time is over."""
        now = self._clock.monotonic()
        if now >= max(study.submitted_at, self._progress_at) + self._timeout:
            await self._end(study, error or _too_late(study, self._timeout))
            return
        if study.eligible_at is not None:
            self._schedule(study, now + self._delay(study, now))

    async def _end(self, study: _Waiting, error: MilvueError | None) -> None:
        self._remove(study)
        self._promote()
        self._wake()
        await study.on_end(error)

    def _remove(self, study: _Waiting) -> None:
        del self._running[bisect_left(self._running, study)]
        self._eligible -= study.eligible_at is not None
        study.due = math.inf

    def _learn(self, study: _Waiting, lag: float) -> None:
        now, expectation = self._clock.monotonic(), self._expectation
        self._progress_at = now
        self._expiry_at = min(self._expiry_at, now + self._timeout)
        place = bisect_left(self._running, study)
        before = expectation.earliest
        if study.eligible_at is None:
            expectation.learn_place(place)
            return
        running_at = study.running_at
        expectation.learn(
            place=place,
            running_at=None if running_at is None else max(0.0, running_at - study.eligible_at),
            ended_at=now - study.eligible_at,
            lag=lag,
        )
        if before is None or (expectation.earliest or 0.0) < before / 2:
            self._reschedule(now)

    def _reschedule(self, now: float) -> None:
        """What was planned was planned with the times of before."""
        for study in self._running[: self._eligible]:
            if not study.is_asked and study.eligible_at is not None:
                self._schedule(study, now + self._delay(study, now))

    def _promote(self) -> None:
        """Let as many as may end next be asked in their turn."""
        now = self._clock.monotonic()
        places = min(self._expectation.places, len(self._running))
        least = places / (self._pace.current * _SHARE_OF_RATE)
        self._expectation.least = max(self._least, least)
        while self._eligible > places * _TOO_MANY:
            self._eligible -= 1
            study = self._running[self._eligible]
            study.eligible_at, study.due = None, math.inf
        while self._eligible < places:
            study = self._running[self._eligible]
            self._eligible += 1
            self._promoted += 1
            study.eligible_at, study.questions = now, 0
            study.running_at = None
            self._schedule(study, now if self._is_explored(study, now) else self._first_at(study))

    def _is_explored(self, study: _Waiting, now: float) -> bool:
        """Whether to see at once if a study has ended, since more may end than is thought."""
        earliest = self._expectation.earliest
        is_possible = earliest is not None and now - study.submitted_at >= earliest
        return is_possible and self._promoted % _EXPLORE_EVERY == 0

    def _first_at(self, study: _Waiting) -> float:
        now = self._clock.monotonic()
        return now + self._delay(study, now)

    def _delay(self, study: _Waiting, now: float) -> float:
        elapsed = now - (study.eligible_at or now)
        delay = self._expectation.delay(elapsed, study.questions + study.failures)
        # Those that were sent together must not be asked for together.
        return delay * (1.0 - 0.1 * self._clock.random())

    def _schedule(self, study: _Waiting, at: float) -> None:
        study.due = at
        heapq.heappush(self._due, (at, study.number, study))


def _failure(study: _Waiting) -> PredictionFailedError:
    return PredictionFailedError(
        "the prediction failed on the server",
        route=STATUS_ROUTE,
        study_instance_uid=study.study_instance_uid,
    )


def _too_late(study: _Waiting, timeout: float) -> PredictionTimeoutError:
    return PredictionTimeoutError(
        f"no prediction within {timeout:g} s; the study may still end: ask again later",
        route=STATUS_ROUTE,
        study_instance_uid=study.study_instance_uid,
    )
