"""Many studies side by side; their outcomes as each ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from typing import TYPE_CHECKING, Any, Self

import anyio

from milvue_async.errors import MilvueError
from milvue_async.outcomes import StudyOutcome
from milvue_async.sources import StudySource

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectSendStream

__all__ = ["Drivers", "OutcomeStream", "Studies"]

Studies = Iterable[StudySource] | AsyncIterable[StudySource]

_Predict = Callable[[StudySource], Awaitable[StudyOutcome]]
# Outcomes that nobody has taken yet; beyond these, studies wait to hand theirs over.
_BUFFERED_OUTCOMES = 16


class Drivers:
    """The tasks behind the streams of one client; they end with it at the latest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, course: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a course in a task of its own."""
        task = asyncio.create_task(course)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def aclose(self) -> None:
        """End them all, and wait until they have."""
        await _cancelled(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Its stream raises it. Where that was dropped, nobody wants to know.
            task.exception()


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
        drivers: The client's.
        background: What runs beside the studies while there are any.

    Raises:
        MilvueError: While iterating: the client was closed before all studies had ended.
        Exception: While iterating, after the outcomes: what ``studies`` itself raised.
    """

    def __init__(
        self,
        studies: Studies,
        predict: _Predict,
        max_in_flight: int,
        drivers: Drivers,
        background: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[StudyOutcome](
            _BUFFERED_OUTCOMES
        )
        self._course = _Course(studies, predict, max_in_flight, self._send, background)
        self._drivers = drivers
        self._driver: asyncio.Task[None] | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StudyOutcome:
        if self._is_closed:
            raise StopAsyncIteration
        if self._driver is None:
            self._driver = self._drivers.start(self._course.run())
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
        self._is_closed = True
        if self._driver is not None:
            await _cancelled({self._driver})
        self._close()

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
        driver = getattr(self, "_driver", None)
        if driver is not None and not driver.get_loop().is_closed():
            driver.cancel()
        if hasattr(self, "_receive"):
            self._close()

    async def _end(self) -> None:
        """Wait for the driver, which has closed its end of the stream; raise what it raised."""
        was_closed, self._is_closed = self._is_closed, True
        self._close()
        driver = self._driver
        if driver is None or was_closed:
            return
        with anyio.CancelScope(shield=True):
            await asyncio.wait({driver})
        if driver.cancelled():
            raise MilvueError("the client was closed before all studies had ended")
        error = driver.exception()
        if error is not None:
            raise _unwrapped(error)

    def _close(self) -> None:
        self._send.close()
        self._receive.close()


async def _cancelled(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended, however that be."""
    for task in tasks:
        task.cancel()
    if tasks:
        with anyio.CancelScope(shield=True):
            await asyncio.wait(tasks)


class _Course:
    """Takes studies in while there is room, and hands their outcomes over."""

    def __init__(
        self,
        studies: Studies,
        predict: _Predict,
        max_in_flight: int,
        send: MemoryObjectSendStream[StudyOutcome],
        background: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._studies = studies
        self._predict = predict
        self._send = send
        self._background = background
        self._room = anyio.Semaphore(max_in_flight)

    async def run(self) -> None:
        failure: Exception | None = None
        with self._send:
            async with anyio.create_task_group() as background:
                background.start_soon(self._background)
                async with anyio.create_task_group() as group:
                    try:
                        await self._begin_each(group)
                    except Exception as error:  # noqa: BLE001  raised below, after the outcomes
                        failure = error
                background.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _begin_each(self, group: TaskGroup) -> None:
        async with contextlib.aclosing(_each(self._studies)) as studies:
            await self._room.acquire()
            async for study in studies:
                group.start_soon(self._one, study)
                await self._room.acquire()

    async def _one(self, study: StudySource) -> None:
        try:
            outcome = await self._predict(study)
            # Where the stream was dropped, nobody takes it.
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._send.send(outcome)
        finally:
            self._room.release()


async def _each(studies: Studies) -> AsyncGenerator[StudySource]:
    if not isinstance(studies, AsyncIterable):
        for study in studies:
            yield study
        return
    iterator = aiter(studies)
    try:
        async for study in iterator:
            yield study
    finally:
        # A generator that is left early must be ended in the task that it ran in (PEP 533).
        if isinstance(iterator, AsyncGenerator):
            with contextlib.suppress(Exception):
                await iterator.aclose()


def _unwrapped(error: BaseException) -> BaseException:
    """The one exception in a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
