"""The bytes of one exchange, on their way out and in: each moves a deadline on.

Both directions are plain iterators, not generators: asyncio ends a generator that is left early
in a task of its own (PEP 525), which would outlive the request.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, Self

import anyio
import anyio.lowlevel

from milvue_async.errors import MilvueError, ProtocolError
from milvue_async.protocol.inflate import BoundedInflater
from milvue_async.protocol.requests import Reply, Request
from milvue_async.transport_errors import FOREIGN, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import aiohttp

__all__ = ["Body", "IncomingReply", "OpenBody", "Watch", "WatchedBody"]

# A server that drips a few bytes a minute makes no progress.
_PROGRESS_BYTES = 1024
# A piece counts when it has left, so the slowest line that makes progress is one piece in
# `idle_timeout` seconds. Smaller ones cost throughput.
_PIECE_BYTES = 1 << 18


class OpenBody(Protocol):
    """The chunks of one try's body; none is empty."""

    error: MilvueError | None

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]: ...

    def close(self) -> None:
        """Give up what is open."""


class Body(Protocol):
    """A request's body, which can be sent any number of times."""

    @property
    def length(self) -> int:
        """Bytes in all."""

    def open(self) -> OpenBody:
        """Begin anew, from the first byte."""


class Watch:
    """A deadline that moves on while bytes do, in either direction.

    Args:
        idle: Seconds without progress.
        timeout: Seconds in all.

    Attributes:
        scope: Cancelled at the deadline.
    """

    def __init__(self, idle: float, timeout: float) -> None:
        self._idle = idle
        now = anyio.current_time()
        self._end = now + timeout
        self._moved = 0
        self.scope = anyio.CancelScope(deadline=min(self._end, now + idle))

    def moved(self, count: int) -> None:
        """Say that so many bytes were sent, or received."""
        self._moved += count
        if self._moved >= _PROGRESS_BYTES:
            self._moved = 0
            self.scope.deadline = min(self._end, anyio.current_time() + self._idle)

    def last_words(self) -> anyio.CancelScope:
        """A scope in place of the deadline, once the answer's status is known."""
        end = min(self._end, anyio.current_time() + self._idle)
        self._end = self._idle = self.scope.deadline = math.inf
        return anyio.CancelScope(deadline=end)


class WatchedBody:
    """The pieces of a body; sending them counts as progress.

    Args:
        chunks: The body.
        watch: Told when a piece has left.
    """

    def __init__(self, chunks: OpenBody, watch: Watch) -> None:
        self._chunks = aiter(chunks)
        self._watch = watch
        self._rest: bytes | memoryview = b""
        self._sent = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | memoryview:
        # aiohttp asks for the next piece when the last one has left its buffer.
        self._watch.moved(self._sent)
        rest = self._rest or await anext(self._chunks)
        if len(rest) > _PIECE_BYTES:
            rest = memoryview(rest)
        piece, self._rest = rest[:_PIECE_BYTES], rest[_PIECE_BYTES:]
        self._sent = len(piece)
        return piece


class IncomingReply:
    """An answer whose body is still on its way.

    Attributes:
        status: HTTP status code.
        headers: Names in lower case.
    """

    def __init__(self, response: aiohttp.ClientResponse, request: Request, watch: Watch) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._request = request
        self._watch = watch

    def chunks(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes in, a ``Content-Encoding`` undone; to be asked for once.

        Args:
            max_bytes: Bytes that the body may inflate to.

        Raises:
            TransportError: While iterating: the connection broke.
            ProtocolError: The encoding is unknown, or while iterating: it is damaged, or inflates
                to too much.
        """
        inflater = _inflater(self.headers, max_bytes)
        return self if inflater is None else _Inflated(self, inflater)

    async def read(self, max_bytes: int) -> Reply:
        """The whole answer.

        Raises:
            TransportError: The connection broke.
            ProtocolError: It is longer than ``max_bytes``.
        """
        body = bytearray()
        async for chunk in self.chunks(max_bytes):
            body += chunk
            if len(body) > max_bytes:
                msg = f"the answer is longer than {max_bytes} bytes"
                raise ProtocolError(msg, status=self.status)
        return Reply(self.status, self.headers, bytes(body))

    async def read_refusal(self, max_bytes: int) -> Reply:
        """The answer of a server that refuses; its body is left out where it cannot be had.

        What the status says is worth more than why the connection broke next: a server that
        refuses an upload in its midst closes while it is still being sent.

        Args:
            max_bytes: Longest body.
        """
        with self._watch.last_words():
            try:
                return await self.read(max_bytes)
            except MilvueError:
                pass
        return Reply(self.status, self.headers, b"")

    @property
    def is_complete(self) -> bool:
        """Whether it was read to its end, and the body it answers had been sent by then."""
        return self._response.connection is None

    def release(self) -> None:
        """Let go of the connection; never raises."""
        self._response.release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._response.content.readany()
        except FOREIGN as exc:
            error = translated(exc, self._request)
        else:
            if not chunk:
                raise StopAsyncIteration
            self._watch.moved(len(chunk))
            return chunk
        raise error


class _Inflated:
    def __init__(self, chunks: AsyncIterator[bytes], inflater: BoundedInflater) -> None:
        self._chunks = chunks
        self._inflater = inflater
        self._pieces: Iterator[bytes] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            piece = next(self._pieces, None)
            if piece is not None:
                # A little that came in can hold much: others have their turn between its pieces.
                await anyio.lowlevel.checkpoint()
                return piece
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._inflater.close()
                raise StopAsyncIteration
            self._pieces = self._inflater.inflate(chunk)


def _inflater(headers: dict[str, str], max_bytes: int) -> BoundedInflater | None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return BoundedInflater(max_bytes)
    if encoding == "deflate":
        return BoundedInflater(max_bytes, wbits=15)
    msg = "the answer has a Content-Encoding that was not asked for"
    raise ProtocolError(msg)
