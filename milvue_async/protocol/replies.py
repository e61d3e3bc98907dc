"""What an answer means: a model, or the error of `milvue_async.errors` that it stands for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
from pydantic import TypeAdapter

from milvue_async.errors import (
    APIError,
    AuthenticationError,
    FormattingError,
    MilvueError,
    NotFoundError,
    ProtocolError,
    QuotaExceededError,
    RequestValidationError,
    ServerError,
)
from milvue_async.protocol.backoff import parse_http_date, parse_retry_after
from milvue_async.protocol.models import (
    ErrorResponse,
    HTTPValidationError,
    PostDicomWebResponseV3,
    PostSignedUrlResponseV3,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvue_async.protocol.requests import Reply, Request

__all__ = [
    "parse_json",
    "parse_signed_urls",
    "parse_store_reply",
    "refusal",
    "scrub",
]

FORMATTING_MESSAGE = "Error formatting study"
RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# After these the study may be in all the same: a gateway gave up on a server that had not.
_DOUBTFUL_STATUSES = frozenset({408, 500, 502, 503, 504})
_BY_STATUS: dict[int, type[APIError]] = {
    403: AuthenticationError,
    404: NotFoundError,
    422: RequestValidationError,
    429: QuotaExceededError,
}
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)
_MESSAGE_LENGTH = 300
_URL_QUERY = re.compile(r"(\bhttps?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Failed SOP Sequence, Failure Reason, Referenced SOP Instance UID, Retrieve URL (PS3.18 table
# 10.5.3-1; the DICOM JSON model of PS3.18 annex F).
_FAILED_SOP_SEQUENCE = "00081198"
_FAILURE_REASON = "00081197"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_RETRIEVE_URL = "00081190"

T = TypeVar("T")


def scrub(text: str) -> str:
    """A server's words made fit for an error: one line, short, the queries of URLs cut."""
    line = _CONTROL.sub(" ", _URL_QUERY.sub(r"\1?REDACTED", text)).strip()
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 1] + "…"


def parse_json(adapter: TypeAdapter[T], reply: Reply, request: Request) -> T:
    """Read a JSON answer.

    Raises:
        ProtocolError: It is no JSON, or lacks what the schema asks for. The message names the
            fields, never their values.
    """
    problem = "is not JSON"
    try:
        return adapter.validate_json(reply.body)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] != "json_invalid":
            problem = f"has no valid {'.'.join(map(str, first['loc'])) or 'content'}"
    msg = f"the answer {problem}"
    raise _concerning(ProtocolError(msg, status=reply.status, in_doubt=request.submits), request)


def refusal(reply: Reply, request: Request, *, secret: str = "") -> MilvueError:
    """The error that an answer outside 2xx stands for.

    Args:
        reply: The answer.
        request: What it answers.
        secret: The API key, in case the server's message repeats it.
    """
    if reply.status in _REDIRECTS:
        msg = "the server redirects; redirects are not followed, since they would carry the key"
        return _concerning(ProtocolError(msg, status=reply.status), request)
    message, details = _message(reply.body)
    if secret:
        message = message.replace(secret, "REDACTED")
    message = scrub(message) or "no message"
    kind = _error_class(reply.status, message)
    options: dict[str, Any] = {"retryable": _is_retryable(reply.status, kind)}
    if kind is RequestValidationError:
        options["details"] = details
    if issubclass(kind, QuotaExceededError | ServerError):
        options["retry_after"] = _retry_after(reply.headers)
    in_doubt = request.submits and reply.status in _DOUBTFUL_STATUSES
    return _concerning(kind(message, status=reply.status, in_doubt=in_doubt, **options), request)


def parse_store_reply(reply: Reply, request: Request) -> PostDicomWebResponseV3:
    """Read the answer to a STOW request: the API's JSON, or a PACS's DICOM JSON.

    Raises:
        APIError: Some instances were not stored (PS3.18 section 10.5.3): 202 and the like.
        ProtocolError: It is neither, or speaks of another study.
    """
    body = _json_object(reply.body)
    if body is None:
        return parse_json(_STORED, reply, request)
    failed = _failed_instances(body)
    if failed:
        raise _concerning(APIError(failed, status=reply.status), request)
    if "StudyInstanceUID" not in body and "application/dicom+json" in _content_type(reply):
        return PostDicomWebResponseV3(
            StudyInstanceUID=request.study_instance_uid,
            message="",
            retrieve_url=_first_value(body, _RETRIEVE_URL),
        )
    stored = parse_json(_STORED, reply, request)
    _same_study(stored.StudyInstanceUID, reply, request)
    return stored


def parse_signed_urls(
    reply: Reply, request: Request, sop_instance_uids: tuple[str, ...]
) -> Mapping[str, str]:
    """Read the answer to a pixel-less STOW request: SOPInstanceUID to URL, for each asked for.

    Raises:
        ProtocolError: A URL is missing, or the answer speaks of another study.
    """
    answer = parse_json(_SIGNED, reply, request)
    _same_study(answer.StudyInstanceUID, reply, request)
    missing = [uid for uid in sop_instance_uids if uid not in answer.signed_urls]
    if missing:
        msg = f"the answer has no signed URL for {len(missing)} instances, {missing[0]} first"
        raise _concerning(ProtocolError(msg, status=reply.status), request)
    return {uid: answer.signed_urls[uid] for uid in sop_instance_uids}


_STORED = TypeAdapter(PostDicomWebResponseV3)
_SIGNED = TypeAdapter(PostSignedUrlResponseV3)
_ERROR = TypeAdapter(ErrorResponse)
_INVALID = TypeAdapter(HTTPValidationError)


def _concerning(error: MilvueError, request: Request) -> MilvueError:
    return error.concerning(route=request.route, study_instance_uid=request.study_instance_uid)


def _error_class(status: int, message: str) -> type[APIError]:
    if message == FORMATTING_MESSAGE:
        return FormattingError
    if status in _SERVER_ERRORS:
        return ServerError
    return _BY_STATUS.get(status, APIError)


def _is_retryable(status: int, kind: type[APIError]) -> bool:
    return status in RETRYABLE_STATUSES and kind is not FormattingError


def _message(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """The message of an error body, and the details of a 422; never its raw text."""
    try:
        return _ERROR.validate_json(body).message, ()
    except pydantic.ValidationError:
        pass
    try:
        details: tuple[Any, ...] = tuple(_INVALID.validate_json(body).detail or ())
    except pydantic.ValidationError:
        details = ()
    if not details:
        return _failed_instances(_json_object(body) or {}), ()
    shown = (f"{'.'.join(map(str, detail.loc))}: {detail.msg}" for detail in details)
    return "; ".join(shown), details


def _retry_after(headers: Mapping[str, str]) -> float | None:
    return parse_retry_after(headers.get("retry-after"), now=parse_http_date(headers.get("date")))


def _content_type(reply: Reply) -> str:
    return reply.headers.get("content-type", "").lower()


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _same_study(answered: str, reply: Reply, request: Request) -> None:
    if answered != request.study_instance_uid:
        error = ProtocolError("the answer speaks of another study", status=reply.status)
        raise _concerning(error, request)


def _failed_instances(body: dict[str, Any]) -> str:
    """What a store response says of instances that were not stored; empty where all were."""
    failed = _values(body, _FAILED_SOP_SEQUENCE)
    if not failed:
        return ""
    item = failed[0] if isinstance(failed[0], dict) else {}
    reason = _first_value(item, _FAILURE_REASON)
    shown = f"0x{int(reason):04X}" if reason and reason.isdigit() else "not given"
    uid = scrub(_first_value(item, _REFERENCED_SOP_INSTANCE_UID) or "not named")
    return f"{len(failed)} instances were not stored, {uid} first (failure reason {shown})"


def _values(attributes: dict[str, Any], tag: str) -> list[Any]:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _first_value(attributes: dict[str, Any], tag: str) -> str | None:
    values = _values(attributes, tag)
    return str(values[0]) if values else None
