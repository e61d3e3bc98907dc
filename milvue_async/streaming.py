"""Many studies side by side; their outcomes as each ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Self

import anyio

from milvue_async.errors import MilvueError
from milvue_async.outcomes import StudyOutcome, stops_intake
from milvue_async.sources import Study, StudySource

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectSendStream

__all__ = ["OutcomeStream", "Studies"]

Studies = Iterable[StudySource] | AsyncIterable[StudySource]

_Predict = Callable[[StudySource], Awaitable[StudyOutcome]]
# Outcomes that nobody has taken yet; beyond these, studies wait to hand theirs over.
_BUFFERED_OUTCOMES = 16


class OutcomeStream(AsyncIterator[StudyOutcome]):
    """Outcomes of many studies, in the order in which they end.

    The studies run in one task group, and that group in the one task of this package which is in
    no group itself: an async generator around a group would leak it whenever the loop over it is
    left early (PEP 789), and a group held by the client would tie it to the task that opened it.
    The task ends with the iteration, with `aclose`, with ``async with``, with the client, or when
    nobody holds this object any more.

    Args:
        studies: Taken one by one, as there is room.
        predict: Takes one study all the way.
        max_in_flight: Studies under way at once.

    Raises:
        Exception: While iterating, after the outcomes: what ``studies`` itself raised.
    """

    def __init__(self, studies: Studies, predict: _Predict, max_in_flight: int) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[StudyOutcome](
            _BUFFERED_OUTCOMES
        )
        self._course = _Course(studies, predict, max_in_flight, self._send)
        self._driver: asyncio.Task[None] | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StudyOutcome:
        if self._is_closed:
            raise StopAsyncIteration
        if self._driver is None:
            self._driver = asyncio.create_task(self._course.run())
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            pass
        except BaseException:
            await self.aclose()
            raise
        await self._end()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the studies still under way, and wait until they have."""
        if self._driver is not None:
            self._driver.cancel()
        await self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._send.close()
        self._receive.close()
        if self._driver is not None and not self._driver.get_loop().is_closed():
            self._driver.cancel()

    async def _end(self) -> None:
        """Wait for the driver; raise what it raised, once."""
        self._is_closed = True
        self._send.close()
        self._receive.close()
        driver, self._driver = self._driver, None
        if driver is None:
            return
        with anyio.CancelScope(shield=True):
            await asyncio.wait({driver})
        if not driver.cancelled() and driver.exception() is not None:
            raise _unwrapped(driver.exception())


class _Course:
    """Takes studies in while there is room, and hands their outcomes over."""

    def __init__(
        self,
        studies: Studies,
        predict: _Predict,
        max_in_flight: int,
        send: MemoryObjectSendStream[StudyOutcome],
    ) -> None:
        self._studies = studies
        self._predict = predict
        self._send = send
        self._room = anyio.Semaphore(max_in_flight)
        self._stopped_by: Exception | None = None

    async def run(self) -> None:
        with self._send:
            async with anyio.create_task_group() as group:
                async for study in _each(self._studies):
                    await self._room.acquire()
                    group.start_soon(self._one, study)

    async def _one(self, study: StudySource) -> None:
        try:
            if self._stopped_by is None:
                outcome = await self._predict(study)
            else:
                outcome = _skipped(study, self._stopped_by)
            if stops_intake(outcome.error):
                self._stopped_by = self._stopped_by or outcome.error
            await self._send.send(outcome)
        finally:
            self._room.release()


async def _each(studies: Studies) -> AsyncIterator[StudySource]:
    if isinstance(studies, AsyncIterable):
        async for study in studies:
            yield study
    else:
        for study in studies:
            yield study


def _skipped(study: StudySource, reason: Exception) -> StudyOutcome:
    error = MilvueError(f"not sent: the run stopped after: {reason}")
    if not isinstance(study, Study):
        return StudyOutcome(study_instance_uid="", outcome="skipped", error=error, study=study)
    return StudyOutcome(
        study_instance_uid=study.study_instance_uid,
        outcome="skipped",
        instances=len(study.instances),
        bytes=study.size,
        error=error,
        study=study,
    )


def _unwrapped(error: BaseException | None) -> BaseException:
    """The one exception in a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error or RuntimeError("the run ended for no reason that is known")
