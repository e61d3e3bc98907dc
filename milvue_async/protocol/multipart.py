"""Multipart/related bodies (RFC 2046, RFC 2387): STOW framing, and an incremental decoder.

`StowFraming` gives the bytes around the instances of a STOW request and the length of the whole
before the first byte is sent. `MultipartDecoder` takes a WADO answer in chunks of any size and
gives out events; it never keeps a part, only the few bytes that may turn out to be a boundary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from milvue_async.errors import ProtocolError
from milvue_async.protocol.content_type import validate_boundary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Event",
    "MultipartDecoder",
    "MultipartEnd",
    "PartBegin",
    "PartData",
    "PartEnd",
    "StowFraming",
]

# Characters that are boundary characters (RFC 2046) and token characters (RFC 9110) at once.
_STOW_BOUNDARY = re.compile(r"[0-9A-Za-z'+_.\-]{1,70}")
_PART_HEADER = b"Content-Type: application/dicom\r\n\r\n"

_MAX_PADDING = 256
# What may follow `--boundary`: its own end, or blanks and CRLF; each may be cut by the chunk's end.
_TAIL = rb"(?:(--)|(-\Z)|[ \t]{0,%d}+(?:(\r\n)|(\r?\Z)|([ \t])))" % _MAX_PADDING

_HEADER_END = b"\r\n\r\n"
_HEADER_STEP = 1024
_FOLD = re.compile(rb"\r\n[ \t]+")
_HEADER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class StowFraming:
    """The framing of a STOW request (PS3.18 section 8.7.1): every part is ``application/dicom``.

    Args:
        boundary: 1 to 70 letters, digits and ``'+_.-``, random for each request, so that no
            instance holds it and Content-Type can carry it without quotes.

    Raises:
        ValueError: The boundary has other characters, or another length.
    """

    boundary: str

    def __post_init__(self) -> None:
        if not _STOW_BOUNDARY.fullmatch(self.boundary):
            msg = f"not a boundary of 1 to 70 letters, digits and '+_.-: {self.boundary!r}"
            raise ValueError(msg)

    @property
    def content_type(self) -> str:
        """The request's Content-Type. Orthanc refuses it without ``type`` in quotes."""
        return f'multipart/related; type="application/dicom"; boundary={self.boundary}'

    def head(self, index: int) -> bytes:
        """The bytes that precede the instance at ``index``, counted from 0."""
        line_end = b"\r\n" if index else b""
        return b"%b--%b\r\n%b" % (line_end, self.boundary.encode(), _PART_HEADER)

    @property
    def tail(self) -> bytes:
        """The bytes that follow the last instance."""
        return b"\r\n--%b--\r\n" % self.boundary.encode()

    def content_length(self, lengths: Iterable[int]) -> int:
        """The length of the whole body in bytes, given that of each instance in order."""
        framed = sum(len(self.head(index)) + length for index, length in enumerate(lengths))
        return framed + len(self.tail)


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins.

    Attributes:
        headers: Its headers, their names in lower case. The values of a repeated header stand in
            one, joined by commas (RFC 9110 section 5.3). Bytes beyond ASCII read as Latin-1.
    """

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some bytes of the part that began last; never empty.

    Attributes:
        data: The bytes. A view keeps the whole chunk it was cut from alive.
    """

    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part that began last is whole: the boundary after it was seen."""


@dataclass(frozen=True, slots=True)
class MultipartEnd:
    """The closing boundary was seen. What follows it is dropped."""


Event: TypeAlias = PartBegin | PartData | PartEnd | MultipartEnd


class _State(Enum):
    PREAMBLE = "before its first boundary"
    HEADERS = "inside the headers of part {}"
    CONTENT = "inside the content of part {}"
    EPILOGUE = "after its closing boundary"
    FAILED = "after an error"


class _Line(IntEnum):
    """What a line that begins like a boundary is; the value is its group of `_TAIL`."""

    CLOSE_DELIMITER = 1
    CUT_IN_CLOSE = 2
    DELIMITER = 3
    CUT_IN_PADDING = 4
    OVERLONG = 5


_CUT = (_Line.CUT_IN_CLOSE, _Line.CUT_IN_PADDING)


class MultipartDecoder:
    r"""Decodes one multipart body, fed in chunks of any size.

    A boundary counts at the start of a line only: at byte 0, after CRLF, or right after the blank
    line of a part's headers (such a part has no content). Blanks and CRLF come after it; a longer
    token, such as ``\r\n--boundaryXYZ``, is content. ``--boundary--`` closes the body whatever
    comes after it: that may be nothing at all, so the end is told without waiting for more.

    Args:
        boundary: As Content-Type gives it: 1 to 256 printable ASCII characters, without ``--``
            before it.
        max_header_bytes: The most bytes the headers of one part may have.
        max_headers: The most headers one part may have.
        max_parts: The most parts the body may have.

    Raises:
        ProtocolError: The boundary is unusable.
    """

    def __init__(
        self,
        boundary: str,
        *,
        max_header_bytes: int = 16384,
        max_headers: int = 64,
        max_parts: int = 10000,
    ) -> None:
        self._delimiter = b"\r\n--" + validate_boundary(boundary).encode("ascii")
        self._delimiter_line = re.compile(re.escape(self._delimiter) + _TAIL)
        self._max_header_bytes = max_header_bytes
        self._max_headers = max_headers
        self._max_parts = max_parts
        self._state = _State.PREAMBLE
        self._parts = 0
        self._header = bytearray()
        # Bytes that may begin a delimiter. Where a line starts without a CRLF of its own, one is
        # put here; `_implied` is the number of such bytes, which are no content.
        self._held = b"\r\n"
        self._implied = 2

    def feed(self, data: bytes | memoryview) -> list[Event]:
        """Decode the next chunk.

        Content comes out at once, all but what may begin a delimiter: at most the boundary, 4
        bytes before it, and 257 of padding. Chunks of bytes are handed on without copying; a
        memoryview is copied, so that its buffer may be used again.

        Returns:
            The events in order; for each part a `PartBegin`, any number of `PartData`, and a
            `PartEnd`, then one `MultipartEnd`.

        Raises:
            ProtocolError: The headers of a part are malformed or too long, there are too many
                parts, or the padding of a boundary has more than 256 bytes. No chunk is taken
                after that.
        """
        if self._state is _State.FAILED:
            msg = "the multipart body was refused before"
            raise ProtocolError(msg)
        events: list[Event] = []
        try:
            self._decode(bytes(data), events)
        except ProtocolError:
            self._state = _State.FAILED
            raise
        return events

    def close(self) -> None:
        """Say that no more chunks come.

        Raises:
            ProtocolError: The closing boundary was not seen, so the body is truncated (retryable),
                or `feed` has raised.
        """
        if self._state is not _State.EPILOGUE:
            where = self._state.value.format(self._parts)
            msg = f"the multipart body ends {where}, without its closing boundary"
            raise ProtocolError(msg, retryable=self._state is not _State.FAILED)

    def _decode(self, chunk: bytes, events: list[Event]) -> None:
        pos = 0
        while pos < len(chunk) and self._state is not _State.EPILOGUE:
            if self._state is _State.HEADERS:
                pos = self._take_headers(chunk, pos, events)
            elif self._held:
                pos = self._take_junction(chunk, pos, events)
            else:
                pos = self._take_content(chunk, pos, events)

    def _take_content(self, chunk: bytes, pos: int, events: list[Event]) -> int:
        """Take content, or preamble, up to and with the next delimiter; returns where it ends."""
        # `find` does 8 GB/s, the expression 0.4: it looks only from where there is a boundary.
        at = chunk.find(self._delimiter, pos)
        found = None if at < 0 else self._delimiter_line.search(chunk, at)
        at = self._find_partial(chunk, pos) if found is None else found.start()
        self._emit(chunk, pos, at, events)
        if found is None or found.lastindex in _CUT:
            self._held = chunk[at:]
            return len(chunk)
        self._pass_boundary(found, events)
        return found.end()

    def _find_partial(self, chunk: bytes, pos: int) -> int:
        """Where a delimiter begins that the end of the chunk cuts; the end where none does."""
        # A delimiter has one CR, its first byte, so only the last CR of the chunk can begin one.
        at = chunk.rfind(b"\r", max(pos, len(chunk) - len(self._delimiter) + 1))
        return at if at >= 0 and self._delimiter.startswith(chunk[at:]) else len(chunk)

    def _take_junction(self, chunk: bytes, pos: int, events: list[Event]) -> int:
        """Decide about the bytes held back, with as much of the chunk as that can need."""
        needed = len(self._delimiter) + _MAX_PADDING + 2
        joined = self._held + chunk[pos : pos + needed]
        found = self._delimiter_line.match(joined)
        cut = found is None and self._delimiter.startswith(joined)
        if cut or (found and found.lastindex in _CUT):
            self._held = joined
            return len(chunk)
        held, implied = self._held, self._implied
        self._held, self._implied = b"", 0
        if found is None:
            self._emit(held, implied, len(held), events)
            return pos
        self._pass_boundary(found, events)
        return pos + found.end() - len(held)

    def _emit(self, chunk: bytes, start: int, end: int, events: list[Event]) -> None:
        if self._state is not _State.CONTENT or start == end:
            return
        whole = end - start == len(chunk)
        events.append(PartData(chunk if whole else memoryview(chunk)[start:end]))

    def _pass_boundary(self, line: re.Match[bytes], events: list[Event]) -> None:
        if line.lastindex == _Line.OVERLONG:
            msg = f"a multipart boundary is followed by more than {_MAX_PADDING} blanks"
            raise ProtocolError(msg)
        if self._state is _State.CONTENT:
            events.append(PartEnd())
        if line.lastindex == _Line.CLOSE_DELIMITER:
            self._state = _State.EPILOGUE
            events.append(MultipartEnd())
            return
        if self._parts == self._max_parts:
            msg = f"the multipart body has more than {self._max_parts} parts"
            raise ProtocolError(msg)
        self._parts += 1
        self._state = _State.HEADERS
        # The CRLF of the delimiter line, so that a blank line ends the headers even as the first.
        self._header = bytearray(b"\r\n")

    def _take_headers(self, chunk: bytes, pos: int, events: list[Event]) -> int:
        """Take headers up to and with their blank line; returns where they end."""
        header, before = self._header, len(self._header)
        header += chunk[pos : pos + _HEADER_STEP]
        end = header.find(_HEADER_END, max(0, before - len(_HEADER_END) + 1))
        # Without an end yet, all but the last three bytes are known to be headers.
        length = (end if end >= 0 else len(header) - 3) - 2
        if length > self._max_header_bytes:
            msg = f"the headers of part {self._parts} exceed {self._max_header_bytes} bytes"
            raise ProtocolError(msg)
        if end < 0:
            return pos + len(header) - before
        # With the CRLF of the last header, so that its end is not taken for the chunk's.
        if self._delimiter_line.search(header, 0, end + 2):
            msg = f"a multipart boundary stands inside the headers of part {self._parts}"
            raise ProtocolError(msg)
        events.append(PartBegin(self._parse_headers(bytes(header[:end]))))
        self._header = bytearray()
        self._state = _State.CONTENT
        self._held, self._implied = b"\r\n", 2
        return pos + end + len(_HEADER_END) - before

    def _parse_headers(self, block: bytes) -> Mapping[str, str]:
        """Parse headers, each preceded by its CRLF (RFC 9112 section 5, with obs-fold)."""
        lines = _FOLD.sub(b" ", block[2:]).split(b"\r\n") if block else []
        if len(lines) > self._max_headers:
            msg = f"part {self._parts} has more than {self._max_headers} headers"
            raise ProtocolError(msg)
        headers: dict[str, str] = {}
        for line in lines:
            name, value = self._parse_header(line)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return MappingProxyType(headers)

    def _parse_header(self, line: bytes) -> tuple[str, str]:
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name) or _CONTROL.search(value):
            msg = f"a header of part {self._parts} is malformed"
            raise ProtocolError(msg)
        return name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
