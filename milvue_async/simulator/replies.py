"""What is answered on any route, as values: JSON, refusals, files, multiparts of files."""

from __future__ import annotations

import gzip
import math
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from anyio import to_thread

from milvue_async.protocol.models import ErrorResponse
from milvue_async.simulator.signing import Client

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Callable,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from milvue_async.protocol.models import Schema

__all__ = [
    "CLIENT",
    "DICOM",
    "GZIPPED_DICOM",
    "JSON",
    "Answer",
    "Content",
    "Multipart",
    "Part",
    "Refusal",
    "body_of",
    "files_answer",
    "json_answer",
    "json_part_answer",
    "multipart_answer",
    "pieces",
    "retry_after",
]

CLIENT = web.RequestKey("client", Client)  # who sends a request, once checked
JSON = "application/json"
DICOM = "application/dicom"
GZIPPED_DICOM = "application/dicom+gzip"
_BLOCK = 1 << 20
_BOUNDARY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart; a file of `GZIPPED_DICOM` is compressed on its way."""

    content_type: str
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class Multipart:
    """Parts and the boundary between them."""

    parts: tuple[Part, ...]
    boundary: str


Content = bytes | Path | Multipart


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that has not been sent.

    Attributes:
        content: Its body.
        content_type: The media type, with its parameters; empty where there is no body.
        status: The HTTP status.
        headers: Sent along.
        delivered: Called once the answer has been sent to its last byte.
    """

    content: Content
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delivered: Callable[[], None] = _nothing

    def then(self, delivered: Callable[[], None]) -> Answer:
        """The same, with something to do once it has been sent."""
        return replace(self, delivered=delivered)

    def unusable(self) -> Answer:
        """The same, as it is when a fault has spoilt it: whoever gets it was given nothing."""
        return replace(self, delivered=_nothing)


class Refusal(Exception):  # noqa: N818  an answer, not a fault
    """A documented refusal.

    Args:
        status: The HTTP status.
        message: For the ErrorResponse.
        headers: Sent along.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def answer(self) -> Answer:
        """The refusal with the body that the API documents."""
        body = ErrorResponse(message=self.message)
        return replace(json_answer(body, status=self.status), headers=self.headers)


def body_of(request: web.Request) -> AsyncIterable[bytes]:
    """The request's body in chunks as they arrive."""
    return request.content.iter_any()


def retry_after(seconds: float | None) -> dict[str, str]:
    """The header that asks for a pause, in whole seconds; none for None."""
    return {} if seconds is None else {"Retry-After": str(math.ceil(seconds))}


def json_answer(body: Schema | bytes, *, status: int = 200) -> Answer:
    """A JSON body, of a model or of bytes, with a bare ``application/json``.

    The vendor's Go client compares the whole header with that: a charset would break it.
    """
    return Answer(content=_encoded(body), status=status)


def json_part_answer(body: Schema | bytes) -> Answer:
    """A JSON body inside a multipart/related one."""
    return multipart_answer([Part(JSON, _encoded(body))])


def files_answer(files: Sequence[Path], *, gzipped: bool) -> Answer:
    """DICOM files as the parts of one multipart/related body."""
    content_type = GZIPPED_DICOM if gzipped else DICOM
    return multipart_answer([Part(content_type, file) for file in files])


def multipart_answer(parts: Sequence[Part]) -> Answer:
    """A multipart/related body whose boundary has 32 characters.

    The vendor's Python client knows an empty result by the 38 bytes of ``--<boundary>--`` and
    its CRLF, and by nothing else.
    """
    boundary = secrets.token_hex(_BOUNDARY_BYTES)
    return Answer(
        content=Multipart(tuple(parts), boundary),
        content_type=f'multipart/related; type="application/dicom"; boundary={boundary}',
    )


async def pieces(content: Content) -> AsyncIterator[bytes]:
    """A body in pieces, with some 2 MiB or one compressed file in memory at a time."""
    if isinstance(content, bytes):
        yield content
        return
    # Joined, since each piece is a system call for whoever sends it, and each turn of a thread.
    joined = _joined(_blocks(content) if isinstance(content, Path) else _parts(content))
    piece = await to_thread.run_sync(next, joined)
    while len(piece) >= _BLOCK:
        yield piece
        piece = await to_thread.run_sync(next, joined)
    yield piece


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces, each read when it is asked for; the last is below `_BLOCK`."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        if size >= _BLOCK:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _parts(content: Multipart) -> Iterator[bytes]:
    for part in content.parts:
        yield f"--{content.boundary}\r\nContent-Type: {part.content_type}\r\n\r\n".encode()
        if isinstance(part.content, bytes):
            yield part.content
        elif part.content_type == GZIPPED_DICOM:
            yield gzip.compress(part.content.read_bytes())
        else:
            yield from _blocks(part.content)
        yield b"\r\n"
    yield f"--{content.boundary}--\r\n".encode()


def _blocks(path: Path) -> Iterator[bytes]:
    """A file in blocks. It is not kept open meanwhile: who breaks off leaves nothing to close."""
    block = b""
    offset = 0
    while offset == 0 or len(block) == _BLOCK:
        block = _block(path, offset)
        offset += _BLOCK
        yield block


def _block(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_BLOCK)


def _encoded(body: Schema | bytes) -> bytes:
    return body if isinstance(body, bytes) else body.model_dump_json(exclude_none=True).encode()
