"""A small API on a free port that records what it is asked, and answers as a test tells it."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Recorded", "Recorder", "recorder", "saying"]


@dataclass(frozen=True)
class Recorded:
    """One request, whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def parts(self) -> list[bytes]:
        """The contents of a multipart body."""
        found = re.search(r"boundary=([^;]+)", self.headers["content-type"])
        assert found is not None
        delimiter = b"--" + found[1].encode()
        parts = (b"\r\n" + self.body).split(b"\r\n" + delimiter)[1:-1]
        return [part.partition(b"\r\n\r\n")[2] for part in parts]


@dataclass
class Recorder:
    """Requests in the order in which they came.

    Attributes:
        url: Root of the API.
        requests: What came in whole.
    """

    url: str = ""
    requests: list[Recorded] = field(default_factory=list)

    @property
    def last(self) -> Recorded:
        return self.requests[-1]

    async def record(self, request: web.Request) -> Recorded:
        """Read a request to its end, and keep it."""
        recorded = Recorded(
            request.method,
            request.path,
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        self.requests.append(recorded)
        return recorded


@asynccontextmanager
async def recorder(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    reads_bodies: bool = True,
) -> AsyncIterator[Recorder]:
    """A server that answers every request by ``answer``.

    Args:
        answer: Called when the request was recorded.
        reads_bodies: Whether it is; else ``answer`` reads the body itself.
    """
    server = Recorder()

    async def handle(request: web.Request) -> web.StreamResponse:
        if reads_bodies:
            await server.record(request)
        return await answer(request)

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def saying(*answers: object) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Gives JSON answers in turn; the last one again and again."""
    left = list(answers)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(left.pop(0) if len(left) > 1 else left[0])

    return answer
