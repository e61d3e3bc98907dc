"""A simulator bound to a port of this machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from aiohttp import web

from milvue_async.simulator.app import STATE, create_app
from milvue_async.simulator.config import SimulatorConfig
from milvue_async.simulator.control import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from milvue_async.simulator.account import QueueEntry, StudyAccount

__all__ = ["Simulator"]

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104  what a client here connects to
_SHUTDOWN_SECONDS = 1.0
_EXPOSED = (
    "WARNING: the simulator listens on %s, not on this machine alone. Whoever reaches it can send "
    "studies to it, unencrypted, and have the results of any study whose UID they know. It is no "
    "server for patient data."
)


def _without_quotation(record: logging.LogRecord) -> bool:
    """Keep what aiohttp says of a malformed request, not the lines of it: keys are in them."""
    record.exc_info = None
    return True


_logger = logging.getLogger(__name__)
_logger.addFilter(_without_quotation)


class Simulator:
    """A Milvue API v3 on this machine, for as long as its ``async with`` lasts.

    Args:
        config: What it is told to do; by default every study is done after two seconds.
        host: Address that it listens on. Anything but loopback is reachable by others, which
            the log warns of.
        port: Where it listens; 0 takes a free port.
        clock: Seconds that only grow; by default those since 1970. A test hands its own in, and
            need not wait.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        *,
        host: str = _LOOPBACK,
        port: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._app = create_app(config or SimulatorConfig(), clock=clock)
        self._host = host
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
        host = _EVERYWHERE.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._runner.addresses[0][1]}"

    @property
    def account(self) -> dict[str, StudyAccount]:
        """StudyInstanceUID to what was seen of it. It stays readable after `stop`."""
        return self._app[STATE].account()

    @property
    def queue(self) -> list[QueueEntry]:
        """What waits and runs now, in the order in which it is inferred."""
        return self._app[STATE].queue()

    async def start(self) -> None:
        """Bind the port and serve.

        Raises:
            OSError: The port is taken, or the folder is, by another simulator.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        if self._host != "localhost" and not is_loopback(self._host):
            _logger.warning(_EXPOSED, self._host)

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
