"""Taking a STOW request apart (RFC 2046 section 5.1, RFC 2387), by code of the simulator's own.

It works on a whole body, as a memory map can be, and shares nothing with the client's decoder, so
that the two check each other.
"""

from __future__ import annotations

import re
from email.message import Message
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

__all__ = ["StowError", "boundary_of", "split"]

_CRLF = b"\r\n"
_MAX_PADDING = 64
_MAX_HEADERS = 16 * 1024
_BOUNDARY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,68}[\x21-\x7e])?")


class StowError(ValueError):
    """A request body that cannot be taken for a study; the message is fit for a 400."""


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``multipart/related`` Content-Type names, quoted or not.

    The ``type`` parameter may be absent, as with the vendor's Python client.

    Raises:
        StowError: It is another media type, or the boundary is missing or impossible.
    """
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() != "multipart/related":
        msg = "Content-Type must be multipart/related"
        raise StowError(msg)
    boundary = header.get_boundary("")
    if not _BOUNDARY.fullmatch(boundary):
        msg = "Content-Type names no usable boundary (1 to 70 ASCII characters)"
        raise StowError(msg)
    return boundary.encode("ascii")


def split(body: bytes | mmap.mmap, boundary: bytes) -> list[slice]:
    """Where each part's content lies in ``body``, without its headers.

    A preamble and an epilogue are passed over, as are the headers of the parts: what a part is
    shows in its content.

    Raises:
        StowError: The closing boundary is missing, a part's headers do not end, or there is
            no part.
    """
    delimiter = b"--" + boundary
    parts: list[slice] = []
    content: int | None = None
    position = 0
    while (found := body.find(delimiter, position)) >= 0:
        position = found + len(delimiter)
        closing = body[position : position + 2] == b"--"
        line = None if closing else _next_line(body, position)
        if not _starts_a_line(body, found) or not (closing or line):
            continue
        if content is not None:
            parts.append(slice(content, max(content, found - len(_CRLF))))
        if line is None:
            return _at_least_one(parts)
        content = position = _content_start(body, line)
    msg = "The multipart body ends without its closing boundary"
    raise StowError(msg)


def _starts_a_line(body: bytes | mmap.mmap, found: int) -> bool:
    return found == 0 or body[max(0, found - len(_CRLF)) : found] == _CRLF


def _next_line(body: bytes | mmap.mmap, position: int) -> int | None:
    """The line after a delimiter, or None where more than padding follows the delimiter."""
    end = body.find(_CRLF, position, position + _MAX_PADDING)
    return None if end < 0 or body[position:end].strip(b" \t") else end + len(_CRLF)


def _content_start(body: bytes | mmap.mmap, line: int) -> int:
    if body[line : line + len(_CRLF)] == _CRLF:
        return line + len(_CRLF)
    end = body.find(_CRLF + _CRLF, line, line + _MAX_HEADERS)
    if end < 0:
        msg = "The headers of a part do not end"
        raise StowError(msg)
    return end + 2 * len(_CRLF)


def _at_least_one(parts: list[slice]) -> list[slice]:
    if not parts:
        msg = "The multipart body has no part"
        raise StowError(msg)
    return parts
