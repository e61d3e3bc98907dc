"""A raw TCP server that answers, and misbehaves, as scripted, and records all that it receives.

A script takes one `Exchange`: it reads as much of the request as it likes and sends whatever
bytes it likes. Scripts are chosen by method and path, so that a test breaks one route of a client
while the others go on working.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

__all__ = ["Exchange", "FaultServer", "Received", "Script"]

_NO_LINGER = struct.pack("ii", 1, 0)
# Small, so that a server which does not read fills up soon.
_RECEIVE_BUFFER = 4096
_PATIENCE = 5.0


@dataclass
class Received:
    """A request, as far as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    head: bytes
    connection: int
    body: bytearray = field(default_factory=bytearray)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", "0"))


class Hangup(Exception):  # noqa: N818  it is no error of the test's
    """The client closed the connection."""


class Exchange:
    """One request, and what a script does with it."""

    def __init__(
        self,
        request: Received,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: FaultServer,
    ) -> None:
        self.request = request
        self._reader = reader
        self._writer = writer
        self._server = server
        self.is_over = False

    async def receive(self, count: int | None = None) -> bytes:
        """Read the body up to ``count`` bytes in all, by default to its end."""
        wanted = self.request.length if count is None else min(count, self.request.length)
        while len(self.request.body) < wanted:
            chunk = await self._reader.read(min(65536, wanted - len(self.request.body)))
            if not chunk:
                raise Hangup
            self.request.body += chunk
        return bytes(self.request.body)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """End the connection as a server does that is done with it."""
        self.is_over = True
        self._writer.close()

    def reset(self) -> None:
        """End the connection with a RST."""
        self.is_over = True
        tcp = self._writer.get_extra_info("socket")
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._writer.transport.abort()

    async def stall(self) -> None:
        """Neither read nor write until the test has seen enough."""
        self.is_over = True
        self._server.stalled += 1
        await self._server.released.wait()

    async def pause(self, seconds: float) -> bool:
        """Wait; whether the test goes on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._server.released.wait()
        return not self._server.released.is_set()


Script: TypeAlias = "Callable[[Exchange], Awaitable[None]]"


class FaultServer:
    """Listens on a free port of the loopback interface.

    Args:
        otherwise: Answers requests that no script was set for; by default the connection breaks.
        tls: Speak TLS.

    Attributes:
        requests: All that came, in order, be they cut short.
        connections: How many were opened.
        stalled: How many stalls have begun.
        left_open: How many clients had not hung up when the stalls were ended.
        raw: All bytes that came.
        released: Set when the stalls are to end.
    """

    def __init__(
        self, otherwise: Script | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.raw = bytearray()
        self.stalled = 0
        self.left_open = 0
        self._otherwise = otherwise
        self._scripts: list[tuple[str, deque[Script]]] = []
        self.released = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()
        self._tls = tls
        self._listener = socket.socket()

    def on(self, route: str, *scripts: Script) -> None:
        """Set what answers the next requests of a route; the last script answers all further ones.

        Args:
            route: Method and how the path begins, such as ``GET /v3/studies/``. What was set last
                wins.
            *scripts: In order.
        """
        self._scripts.insert(0, (route, deque(scripts)))

    def received(self, route: str) -> list[Received]:
        """The requests of a route so far."""
        return [request for request in self.requests if _fits(request, route)]

    @property
    def handlers(self) -> set[asyncio.Task[None]]:
        """The tasks of connections that are open."""
        return set(self._handlers)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def sockets_of_clients(self) -> int:
        """How many sockets of this very process are connected to this server."""
        names = [entry.name for entry in Path("/dev/fd").iterdir()]
        return sum(_peer_port(int(name)) == self.port for name in names)

    async def __aenter__(self) -> Self:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(
            self._handle, sock=self._listener, ssl=self._tls, limit=65536
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()
        self._server.close()

    async def release(self) -> None:
        """End all stalls, and wait until every client has hung up; count those that do not."""
        self.released.set()
        if self._handlers:
            _, stuck = await asyncio.wait(self._handlers, timeout=_PATIENCE)
            self.left_open = len(stuck)
            for handler in stuck:
                handler.cancel()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        number = self.connections
        try:
            with contextlib.suppress(Hangup, OSError):
                while await self._serve(number, reader, writer):
                    pass
                await self._drain(reader)
        finally:
            writer.close()
            self._handlers.discard(task)

    async def _serve(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            self.raw += error.partial
            raise Hangup from None
        self.raw += head
        request = _parsed(head, number)
        self.requests.append(request)
        exchange = Exchange(request, reader, writer, self)
        try:
            await self._script(request)(exchange)
        finally:
            self.raw += request.body
        return not exchange.is_over

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        """Read on until the client hangs up: that it does shows that it left nothing open."""
        while chunk := await reader.read(1 << 20):
            self.raw += chunk

    def _script(self, request: Received) -> Script:
        for route, scripts in self._scripts:
            if _fits(request, route):
                return scripts.popleft() if len(scripts) > 1 else scripts[0]
        return self._otherwise or _hang_up


async def _hang_up(exchange: Exchange) -> None:
    exchange.close()


def _fits(request: Received, route: str) -> bool:
    method, _, path = route.partition(" ")
    if request.method != method:
        return False
    return request.path == path if not path.endswith("*") else request.path.startswith(path[:-1])


def _parsed(head: bytes, connection: int) -> Received:
    start, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = start.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Received(method, target, headers, head, connection)


def _peer_port(descriptor: int) -> int | None:
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as copy:
                peer = copy.getpeername()
                return int(peer[1]) if isinstance(peer, tuple) else None
    return None
