"""What each kind of fault does to a request that it strikes."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from milvue_async.protocol.models import HTTPValidationError, ValidationError
from milvue_async.simulator.replies import (
    DICOM,
    GZIPPED_DICOM,
    JSON,
    Answer,
    Multipart,
    Part,
    Refusal,
    body_of,
    json_answer,
    multipart_answer,
    retry_after,
)
from milvue_async.simulator.sending import hold, reset, send, send_some

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from milvue_async.simulator.faults import Fault

__all__ = ["Struck", "strike"]

_HANG_SECONDS = 600.0
_GARBAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Struck:
    """A request, the fault that strikes it, and how it would be answered without.

    Attributes:
        fault: The fault.
        request: The request; nothing of its body was read.
        answer: Handles the request.
        is_stopping: Whether the simulator is about to stop.
    """

    fault: Fault
    request: web.Request
    answer: Callable[[], Awaitable[Answer]]
    is_stopping: Callable[[], bool]

    @property
    def has_body(self) -> bool:
        """Whether the fault goes by the body of the request."""
        if self.fault.of is not None:
            return self.fault.of == "request"
        return self.request.method in ("POST", "PUT")


async def strike(struck: Struck) -> web.StreamResponse:
    """Answer a request as its fault wants it.

    Raises:
        ConnectionError: The client left, or was left.
    """
    kind = struck.fault.kind
    if kind in _CHANGES:
        return await _changed(struck)
    return await _ACTIONS[kind](struck)


async def _delay(struck: Struck) -> web.StreamResponse:
    await anyio.sleep(struck.fault.seconds)
    return await send(struck.request, await struck.answer())


async def _status(struck: Struck) -> web.StreamResponse:
    """Read the request, then refuse it."""
    await _read(struck.request, 1)
    return await send(struck.request, _refusal(struck.fault))


async def _early_status(struck: Struck) -> web.StreamResponse:
    """Refuse the request before its body was read, and close: the rest of it meets a reset."""
    reply = await send(struck.request, _refusal(struck.fault))
    if struck.request.transport is not None:
        struck.request.transport.close()
    return reply


async def _garbage_http(struck: Struck) -> web.StreamResponse:
    """Answer with what is not HTTP."""
    await _read(struck.request, 1)
    if struck.request.transport is not None:
        struck.request.transport.write(_garbage(struck.fault))
        struck.request.transport.close()
    return _no_reply()


async def _truncate(struck: Struck) -> web.StreamResponse:
    share = struck.fault.at
    return await send_some(struck.request, await struck.answer(), share, ended=True)


async def _reset_before_body(struck: Struck) -> web.StreamResponse:
    if not struck.has_body:
        await struck.answer()
    return await _cut(struck)


async def _reset_in_body(struck: Struck) -> web.StreamResponse:
    await _go_into_body(struck)
    return await _cut(struck)


async def _reset_after_body(struck: Struck) -> web.StreamResponse:
    await _go_through_body(struck)
    return await _cut(struck)


async def _hang(struck: Struck) -> web.StreamResponse:
    """Read the request, then do nothing with it."""
    await _read(struck.request, 1)
    return await _held(struck)


async def _hang_in_body(struck: Struck) -> web.StreamResponse:
    await _go_into_body(struck)
    return await _held(struck)


async def _hang_after_body(struck: Struck) -> web.StreamResponse:
    await _go_through_body(struck)
    return await _held(struck)


async def _go_into_body(struck: Struck) -> None:
    if struck.has_body:
        await _read(struck.request, struck.fault.at)
    else:
        await send_some(struck.request, await struck.answer(), struck.fault.at, ended=False)


async def _go_through_body(struck: Struck) -> None:
    answer = await struck.answer()
    if not struck.has_body:
        await send_some(struck.request, answer, 1, ended=False)


async def _held(struck: Struck) -> web.StreamResponse:
    await hold(struck.request, _HANG_SECONDS, struck.is_stopping)
    return await _cut(struck)


async def _cut(struck: Struck) -> web.StreamResponse:
    await reset(struck.request)
    return _no_reply()


def _no_reply() -> web.StreamResponse:
    """What a handler returns when its connection is gone: aiohttp cannot send it, and ends."""
    return web.StreamResponse()


async def _read(request: web.Request, share: float) -> None:
    """Read a share of the request's body; of a chunked one, whose length nobody says, a chunk."""
    if share == 0:
        return
    wanted = (request.content_length or 0) * share
    received = 0
    async for chunk in body_of(request):
        received += len(chunk)
        if share < 1 and received >= wanted:
            return


def _refusal(fault: Fault) -> Answer:
    """The documented body of a status; none where HTTP allows none (RFC 9110 section 6.4.1)."""
    status = HTTPStatus(fault.status) if fault.status in set(HTTPStatus) else None
    message = fault.message or (status.phrase if status else "Simulated fault")
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        answer = Answer(content=b"", content_type="", status=fault.status)
    elif status == HTTPStatus.UNPROCESSABLE_ENTITY:
        problem = ValidationError(loc=["query"], msg=message, type="value_error")
        answer = json_answer(HTTPValidationError(detail=[problem]), status=fault.status)
    else:
        answer = Refusal(fault.status, message).answer()
    return replace(answer, headers=retry_after(fault.retry_after))


async def _changed(struck: Struck) -> web.StreamResponse:
    fault = struck.fault
    answer = await struck.answer()
    return await send(struck.request, _CHANGES[fault.kind](fault, answer))


def _with_wrong_content_type(fault: Fault, answer: Answer) -> Answer:
    return replace(answer.unusable(), content_type=fault.content_type)


def _with_json_part(_: Fault, answer: Answer) -> Answer:
    """JSON becomes a part of a multipart; a multipart gets a part of JSON before its own."""
    if isinstance(answer.content, Multipart):
        parts = [Part(JSON, b'{"message":"Simulated fault"}'), *answer.content.parts]
    else:
        parts = [Part(answer.content_type, answer.content)]
    multipart = multipart_answer(parts)
    return replace(answer, content=multipart.content, content_type=multipart.content_type)


def _with_gzip_parts(_: Fault, answer: Answer) -> Answer:
    if not isinstance(answer.content, Multipart):
        return answer
    parts = tuple(
        replace(part, content_type=GZIPPED_DICOM) if part.content_type == DICOM else part
        for part in answer.content.parts
    )
    return replace(answer, content=replace(answer.content, parts=parts))


def _with_garbage(fault: Fault, answer: Answer) -> Answer:
    return replace(answer.unusable(), content=_garbage(fault))


def _garbage(fault: Fault) -> bytes:
    return random.Random(fault.seed).randbytes(_GARBAGE_BYTES)  # noqa: S311  it is to repeat itself


_CHANGES: dict[str, Callable[[Fault, Answer], Answer]] = {
    "wrong_content_type": _with_wrong_content_type,
    "json_part": _with_json_part,
    "gzip_parts": _with_gzip_parts,
    "garbage": _with_garbage,
}
_ACTIONS: dict[str, Callable[[Struck], Awaitable[web.StreamResponse]]] = {
    "status": _status,
    "early_status": _early_status,
    "delay": _delay,
    "hang": _hang,
    "hang_in_body": _hang_in_body,
    "hang_after_body": _hang_after_body,
    "reset_before_body": _reset_before_body,
    "reset_in_body": _reset_in_body,
    "reset_after_body": _reset_after_body,
    "truncate": _truncate,
    "garbage_http": _garbage_http,
}
