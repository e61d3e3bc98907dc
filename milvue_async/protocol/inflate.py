"""Inflating gzip and deflate without trusting the sender (RFC 1950, 1951, 1952).

600 KiB can hold 600 MiB. So the total is capped, and it comes out in pieces small enough that an
event loop can look after other connections between two of them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NoReturn

from milvue_async.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BoundedInflater"]

_MAX_PIECE = 1 << 20
# zlib copies what is left of its input at every call, so it gets little at a time.
_MAX_INPUT = 1 << 16
# From here on `wbits` asks for a gzip wrapper: 16 more than a window of 8 bits or more.
_GZIP_WBITS = 24


class BoundedInflater:
    """Inflates one compressed body, fed in any split.

    As `gzip.decompress` does, it takes several gzip members one after the other, and NUL padding
    behind each. A zlib or raw deflate body is exactly one stream.

    Args:
        max_bytes: The most bytes to give out in total.
        wbits: The wrapper, as for `zlib.decompressobj`: 31 gzip, 15 zlib (what HTTP calls
            ``deflate``), -15 raw deflate (what some servers send under that name).
    """

    def __init__(self, max_bytes: int, *, wbits: int = 31) -> None:
        self._max_bytes = max_bytes
        self._wbits = wbits
        self._stream = zlib.decompressobj(wbits)
        self._produced = 0
        self._input = memoryview(b"")  # not yet seen by zlib
        self._tail = b""  # seen, and left over
        self._output_waits = False
        self._failed = False

    def inflate(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take compressed bytes in and give out what they hold, in pieces of at most 1 MiB.

        The work is done as the iterator is advanced. What an abandoned iterator left is given out
        by the next one.

        Raises:
            ProtocolError: While iterating: the data is corrupt, is followed by something else, or
                holds more than ``max_bytes``.
        """
        unread = bytes(self._input)
        self._input = memoryview(unread + data if unread else bytes(data))
        return self._pieces()

    def close(self) -> None:
        """Say that no more input comes.

        Raises:
            ProtocolError: The compressed data is incomplete (retryable; no data at all counts as
                incomplete too), or was refused before.
        """
        if self._failed:
            self._refuse("was refused before")
        if self._input or self._tail or not self._stream.eof:
            msg = "the compressed data ends before it is complete"
            raise ProtocolError(msg, retryable=True)

    def _pieces(self) -> Iterator[bytes]:
        if self._failed:
            self._refuse("was refused before")
        while self._input or self._tail or self._output_waits:
            piece = self._next_piece()
            if piece:
                yield piece

    def _next_piece(self) -> bytes:
        source = self._tail or self._next_input()
        if self._stream.eof:
            source = self._begin_member(source)
            if not source:
                return b""
        # One byte more than is allowed shows that there is more than is allowed.
        limit = min(_MAX_PIECE, self._max_bytes - self._produced + 1)
        try:
            piece = self._stream.decompress(source, limit)
        except zlib.error as error:
            self._refuse(f"is corrupt: {error}")
        self._tail = self._stream.unused_data or self._stream.unconsumed_tail
        self._output_waits = len(piece) == limit and not self._stream.eof
        self._produced += len(piece)
        if self._produced > self._max_bytes:
            self._refuse(f"holds more than the {self._max_bytes} bytes allowed")
        return piece

    def _next_input(self) -> bytes:
        taken, self._input = self._input[:_MAX_INPUT], self._input[_MAX_INPUT:]
        return bytes(taken)

    def _begin_member(self, source: bytes) -> bytes:
        """Start on what follows a finished stream; returns it without its padding."""
        if self._wbits < _GZIP_WBITS:
            self._refuse("is followed by something else")
        self._tail = b""
        rest = source.lstrip(b"\0")
        if rest:
            self._stream = zlib.decompressobj(self._wbits)
        return rest

    def _refuse(self, why: str) -> NoReturn:
        self._failed = True
        msg = f"the compressed data {why}"
        raise ProtocolError(msg) from None
