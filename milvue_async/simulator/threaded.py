"""A simulator for programs that have no event loop of their own, or must not share it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from anyio.from_thread import start_blocking_portal

from milvue_async.simulator.config import SimulatorConfig
from milvue_async.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from anyio.from_thread import BlockingPortal

    from milvue_async.simulator.account import QueueEntry, StudyAccount

__all__ = ["ThreadedSimulator"]

_ANY_KEY = "5f0c3a52-7d2e-4c8b-9a41-3b1f6d9e2c70"


class ThreadedSimulator:
    """A simulator on an event loop in a thread of its own, for as long as its ``with`` lasts.

    Blocking clients can use it, and clients on any event loop. Its properties may be read from
    any thread; none of them waits for a client. Outside of the ``with`` they raise RuntimeError.

    Args:
        config: What it is told to do.
        port: Where it listens, on 127.0.0.1; 0 takes a free port.
        clock: Seconds that only grow, read in the other thread; by default those since 1970.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        port: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._config = config or SimulatorConfig()
        self._make = partial(Simulator, self._config, port=port, clock=clock)
        self._running: tuple[BlockingPortal, Simulator] | None = None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            simulator = portal.call(self._make)
            stack.enter_context(portal.wrap_async_context_manager(simulator))
            self._exit = stack.pop_all()
        self._running = portal, simulator
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running = None
        self._exit.close()

    @property
    def url(self) -> str:
        """Root of the API, such as ``http://127.0.0.1:8080``."""
        _, simulator = self._parts()
        return simulator.url

    @property
    def token(self) -> str:
        """An API key that it lets in."""
        keys = self._config.api_keys
        return min(keys) if keys else _ANY_KEY

    @property
    def account(self) -> dict[str, StudyAccount]:
        """StudyInstanceUID to what was seen of it."""
        portal, simulator = self._parts()
        return portal.call(lambda: simulator.account)

    @property
    def queue(self) -> list[QueueEntry]:
        """What waits and runs now, in the order in which it is inferred."""
        portal, simulator = self._parts()
        return portal.call(lambda: simulator.queue)

    def _parts(self) -> tuple[BlockingPortal, Simulator]:
        if self._running is None:
            msg = "the simulator is not running"
            raise RuntimeError(msg)
        return self._running
