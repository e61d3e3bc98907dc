"""Answers over the wire: whole, or in part and then cut off, as a fault may want it."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from aiohttp import web
from anyio import to_thread

from milvue_async.simulator.replies import Multipart, pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from milvue_async.simulator.replies import Answer, Content

__all__ = ["STARTED", "hold", "reply_of", "reset", "send", "send_some"]

STARTED = web.RequestKey("started", web.StreamResponse)  # a reply whose headers are sent
_POLL_SECONDS = 0.02
_DRAIN_SECONDS = 1.0
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # see socket(7)


async def send(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send an answer to its last byte, and only then call it delivered.

    Raises:
        ConnectionError: The client left before that.
    """
    if isinstance(answer.content, bytes):
        reply: web.StreamResponse = reply_of(answer)  # headers and body leave as one
        await _prepare(request, reply)
    else:
        is_chunked = isinstance(answer.content, Multipart)
        reply = await _start(request, answer, None if is_chunked else await _size(answer.content))
        async for piece in pieces(answer.content):
            await reply.write(piece)
    await reply.write_eof()
    await request.writer.drain()
    answer.delivered()
    return reply


async def send_some(
    request: web.Request, answer: Answer, share: float, *, ended: bool
) -> web.StreamResponse:
    """Send the headers and a share of the body.

    Args:
        request: What is answered.
        answer: The whole answer.
        share: From 0 to 1.
        ended: Whether the body then ends as HTTP wants it. Else its headers promise all of it,
            and it stays open; of all of it, they promise an end that does not come.

    Raises:
        ConnectionError: The client left before that.
    """
    size = await _size(answer.content)
    left = int(size * share)
    promised = left if ended else size
    reply = await _start(request, answer, None if share == 1 and not ended else promised)
    async for piece in pieces(answer.content):
        await reply.write(piece[:left])
        left -= len(piece[:left])
    if ended:
        await reply.write_eof()
    await request.writer.drain()
    return reply


async def reset(request: web.Request) -> None:
    """Cut the connection with a TCP reset, as a process that dies leaves it.

    What was written before is given a moment to arrive: a reset drops what is still on its way.
    """
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        with anyio.move_on_after(_DRAIN_SECONDS):
            while transport.get_write_buffer_size() or _unsent(connection):  # noqa: ASYNC110  no event
                await anyio.sleep(_POLL_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()


def _unsent(connection: socket.socket) -> int:
    """Bytes that the peer has not acknowledged; 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    import fcntl  # noqa: PLC0415  not everywhere
    import termios  # noqa: PLC0415  likewise

    count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(count, sys.byteorder)


async def hold(request: web.Request, seconds: float, is_stopping: Callable[[], bool]) -> None:
    """Keep the connection open and do nothing, until the client leaves it.

    A client that leaves while its request is not read is not noticed: hence an end.

    Args:
        request: Whose connection.
        seconds: When it ends at the latest.
        is_stopping: What else ends it.
    """
    with anyio.move_on_after(seconds):
        while request.transport is not None and not is_stopping():  # noqa: ASYNC110  no event
            await anyio.sleep(_POLL_SECONDS)


def reply_of(answer: Answer) -> web.Response:
    """A short answer as aiohttp has it, for what is sent by aiohttp itself."""
    if not isinstance(answer.content, bytes):
        msg = "only an answer of bytes is short"
        raise TypeError(msg)
    return web.Response(status=answer.status, headers=_headers(answer), body=answer.content)


async def _start(request: web.Request, answer: Answer, size: int | None) -> web.StreamResponse:
    """Send the headers. A multipart goes in chunks, whatever its size; so does what has none."""
    reply = web.StreamResponse(status=answer.status, headers=_headers(answer))
    if size is not None and not isinstance(answer.content, Multipart):
        reply.content_length = size
    await _prepare(request, reply)
    return reply


async def _prepare(request: web.Request, reply: web.StreamResponse) -> None:
    if request.transport is not None:  # what was written, the system then really has
        request.transport.set_write_buffer_limits(high=0)
    await reply.prepare(request)
    request[STARTED] = reply


async def _size(content: Content) -> int:
    match content:
        case bytes():
            return len(content)
        case Path():
            return (await to_thread.run_sync(content.stat)).st_size
        case Multipart():
            return sum([len(piece) async for piece in pieces(content)])


def _headers(answer: Answer) -> dict[str, str]:
    named = {"Content-Type": answer.content_type} if answer.content_type else {}
    return {**answer.headers, **named}
