"""What goes over the wire on any route: request bodies in; JSON, refusals and multiparts out."""

from __future__ import annotations

import gzip
import secrets
from typing import TYPE_CHECKING

import anyio
from aiohttp import web
from anyio import to_thread

from milvue_async.protocol.models import ErrorResponse
from milvue_async.simulator.signing import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping, Sequence
    from pathlib import Path

    from milvue_async.protocol.models import Schema

__all__ = [
    "CLIENT",
    "STARTED",
    "Refusal",
    "body_of",
    "json_reply",
    "send_files",
    "send_json_part",
]

# What a request carries with it:
CLIENT = web.RequestKey("client", Client)  # who sends it, once checked
STARTED = web.RequestKey("started", web.StreamResponse)  # the reply, once its headers are sent
_BLOCK = 1 << 20


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

    def reply(self) -> web.Response:
        """The refusal as it goes over the wire."""
        reply = json_reply(ErrorResponse(message=self.message), status=self.status)
        reply.headers.update(self.headers)
        return reply


def body_of(request: web.Request) -> AsyncIterable[bytes]:
    """The request's body in chunks as they arrive."""
    return request.content.iter_any()


def json_reply(body: Schema | bytes, *, status: int = 200) -> web.Response:
    """A JSON body, of a model or of bytes, with a bare ``application/json``.

    The vendor's Go client compares the whole header with that: a charset would break it.
    """
    return web.Response(status=status, body=_encoded(body), content_type="application/json")


async def send_json_part(request: web.Request, body: Schema) -> web.StreamResponse:
    """A JSON body inside a multipart/related one."""
    reply, boundary = await _start_multipart(request)
    header = _part_header(boundary, "application/json")
    await reply.write(header + _encoded(body) + b"\r\n")
    return await _end_multipart(reply, boundary)


async def send_files(
    request: web.Request, files: Sequence[Path], *, gzipped: bool
) -> web.StreamResponse:
    """DICOM files as the parts of one multipart/related body, one in memory at a time at most."""
    reply, boundary = await _start_multipart(request)
    for file in files:
        if gzipped:
            await reply.write(_part_header(boundary, "application/dicom+gzip"))
            await reply.write(await to_thread.run_sync(_gzipped, file))
        else:
            await reply.write(_part_header(boundary, "application/dicom"))
            await _write_file(reply, file)
        await reply.write(b"\r\n")
    return await _end_multipart(reply, boundary)


def _encoded(body: Schema | bytes) -> bytes:
    return body if isinstance(body, bytes) else body.model_dump_json(exclude_none=True).encode()


async def _start_multipart(request: web.Request) -> tuple[web.StreamResponse, str]:
    """Begin a body whose boundary has 32 characters.

    The vendor's Python client knows an empty result by the 38 bytes of ``--<boundary>--`` and
    its CRLF, and by nothing else.
    """
    boundary = secrets.token_hex(16)
    content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
    reply = web.StreamResponse(headers={"Content-Type": content_type})
    await reply.prepare(request)
    request[STARTED] = reply
    return reply, boundary


def _part_header(boundary: str, content_type: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode()


async def _end_multipart(reply: web.StreamResponse, boundary: str) -> web.StreamResponse:
    await reply.write(f"--{boundary}--\r\n".encode())
    await reply.write_eof()
    return reply


async def _write_file(reply: web.StreamResponse, path: Path) -> None:
    async with await anyio.open_file(path, "rb") as file:
        while block := await file.read(_BLOCK):
            await reply.write(block)


def _gzipped(path: Path) -> bytes:
    return gzip.compress(path.read_bytes())
