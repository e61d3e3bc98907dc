"""A simulator bound to a port of this machine."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Self

from aiohttp import web

from milvue_async.simulator.app import STATE, create_app
from milvue_async.simulator.config import SimulatorConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from milvue_async.simulator.state import StudyAccount

__all__ = ["Simulator"]

_HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 1.0


def _without_quotation(record: logging.LogRecord) -> bool:
    """Keep what aiohttp says of a malformed request, not the lines of it: keys are in them."""
    record.exc_info = None
    return True


_logger = logging.getLogger(__name__)
_logger.addFilter(_without_quotation)


class Simulator:
    """A Milvue API v3 on 127.0.0.1, for as long as its ``async with`` lasts.

    Args:
        config: What it is told to do; by default every study is done after two seconds.
        port: Where it listens; 0 takes a free port.
        clock: Seconds that only grow. A test hands its own in, and need not wait.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = create_app(config or SimulatorConfig(), clock=clock)
        self._port = port
        self._runner = web.AppRunner(
            self._app,
            access_log=None,  # it would hold the queries of signed URLs
            logger=_logger,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    @property
    def url(self) -> str:
        """Root of the API, such as ``http://127.0.0.1:8080``.

        Raises:
            RuntimeError: It is not running.
        """
        if not self._runner.addresses:
            msg = "the simulator is not running"
            raise RuntimeError(msg)
        return f"http://{_HOST}:{self._runner.addresses[0][1]}"

    @property
    def account(self) -> dict[str, StudyAccount]:
        """StudyInstanceUID to what was seen of it. It stays readable after `stop`."""
        return self._app[STATE].account()

    async def start(self) -> None:
        """Bind the port and serve.

        Raises:
            OSError: The port is taken.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, _HOST, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        """Close every connection and remove a temporary folder."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
