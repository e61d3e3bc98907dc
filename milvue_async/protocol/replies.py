"""What an answer means: a model, or the error of `milvue_async.errors` that it stands for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

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
    HTTPValidationError,
    PostDicomWebResponseV3,
    PostSignedUrlResponseV3,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvue_async.protocol.requests import Reply, Request

__all__ = [
    "check_study",
    "parse_json",
    "parse_of_study",
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
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    422: RequestValidationError,
    429: QuotaExceededError,
}
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)
_MESSAGE_LENGTH = 300
_SCANNED_LENGTH = 4096
_UNSIGNED_SHORT = re.compile(r"[0-9]{1,5}", re.ASCII)
# The query of a whole URL, whatever is in it, or of one without its host.
_URL_QUERY = re.compile(r"(://[^\s?]*\?|\?(?=\S*=))\S*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Failed and Referenced SOP Sequence, Failure Reason, Referenced SOP Instance UID, Retrieve URL
# (PS3.18 table 10.5.3-1; the DICOM JSON model of PS3.18 annex F).
_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_SEQUENCE = "00081199"
_FAILURE_REASON = "00081197"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_RETRIEVE_URL = "00081190"

T = TypeVar("T")


class _OfStudy(Protocol):
    @property
    def StudyInstanceUID(self) -> str: ...  # noqa: N802  the name on the wire


StudyT = TypeVar("StudyT", bound=_OfStudy)


def scrub(text: str) -> str:
    """A server's words made fit for an error: one line, short, the queries of URLs cut."""
    line = _CONTROL.sub(" ", _URL_QUERY.sub(r"\1REDACTED", text[:_SCANNED_LENGTH])).strip()
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
            problem = f"has no valid {scrub('.'.join(map(str, first['loc']))) or 'content'}"
    msg = f"the answer {problem}"
    raise _concerning(ProtocolError(msg, status=reply.status, in_doubt=request.submits), request)


def parse_of_study(adapter: TypeAdapter[StudyT], reply: Reply, request: Request) -> StudyT:
    """Read a JSON answer that names the study it is about.

    Raises:
        ProtocolError: As `parse_json`, or it speaks of another study: of another patient, perhaps.
    """
    answer = parse_json(adapter, reply, request)
    check_study(answer.StudyInstanceUID, request, status=reply.status)
    return answer


def check_study(answered: str, request: Request, *, status: int | None = None) -> None:
    """See that an answer is about the study that was asked for.

    Raises:
        ProtocolError: It is about another.
    """
    if answered.rstrip("\0 ") != request.study_instance_uid:
        msg = "the answer speaks of another study"
        raise _concerning(ProtocolError(msg, status=status, in_doubt=request.submits), request)


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
    message, details = _message(reply.body, request, secret)
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
        APIError: Some instances were not stored (PS3.18 section 10.5.3): 202 and the like, or
            a 200 that does not name them among the stored. It is in doubt, since others were.
        ProtocolError: It is neither, or speaks of another study.
    """
    body = _json_object(reply.body)
    if body is None:
        return parse_json(_STORED, reply, request)
    failed = _failed_instances(body, request)
    if failed:
        refused = APIError(failed, status=reply.status, in_doubt=request.submits)
        raise _concerning(refused, request)
    if "StudyInstanceUID" not in body and "application/dicom+json" in _content_type(reply):
        return PostDicomWebResponseV3(
            StudyInstanceUID=request.study_instance_uid,
            message="",
            retrieve_url=_first_value(body, _RETRIEVE_URL),
        )
    return parse_of_study(_STORED, reply, request)


def parse_signed_urls(
    reply: Reply, request: Request, sop_instance_uids: tuple[str, ...]
) -> Mapping[str, str]:
    """Read the answer to a pixel-less STOW request: SOPInstanceUID to URL, for each asked for.

    Raises:
        ProtocolError: A URL is missing, or the answer speaks of another study.
    """
    answer = parse_of_study(_SIGNED, reply, request)
    missing = [uid for uid in sop_instance_uids if uid not in answer.signed_urls]
    if missing:
        msg = f"the answer has no signed URL for {len(missing)} instances, {missing[0]} first"
        raise _concerning(ProtocolError(msg, status=reply.status), request)
    return {uid: answer.signed_urls[uid] for uid in sop_instance_uids}


_STORED = TypeAdapter(PostDicomWebResponseV3)
_SIGNED = TypeAdapter(PostSignedUrlResponseV3)
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


def _message(body: bytes, request: Request, secret: str) -> tuple[str, tuple[ValidationError, ...]]:
    """The message of an error body, and the details of a 422; never its raw text."""
    details = tuple(_cleaned(detail, secret) for detail in _details(body))
    shown = (f"{'.'.join(map(str, detail.loc))}: {detail.msg}" for detail in details)
    message = _clean("; ".join(shown) or _words(body, request), secret)
    return message or "no message", details


def _details(body: bytes) -> list[ValidationError]:
    try:
        return _INVALID.validate_json(body).detail or []
    except pydantic.ValidationError:
        return []


def _words(body: bytes, request: Request) -> str:
    """What a body says that has no list of details."""
    answer = _json_object(body) or {}
    # `detail` is what FastAPI, which wrote the OpenAPI document, says of what it refuses itself.
    said = next((answer[name] for name in ("message", "detail") if name in answer), None)
    return said if isinstance(said, str) else _failed_instances(answer, request)


def _cleaned(detail: ValidationError, secret: str) -> ValidationError:
    """Only what is documented: a server may also repeat the value that was wrong."""
    loc = [place if isinstance(place, int) else _clean(place, secret) for place in detail.loc]
    return ValidationError(
        loc=loc, msg=_clean(detail.msg, secret), type=_clean(detail.type, secret)
    )


def _clean(text: str, secret: str) -> str:
    if secret:
        text = re.sub(re.escape(secret), "REDACTED", text, flags=re.IGNORECASE)
    return scrub(text)


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


def _failed_instances(body: dict[str, Any], request: Request) -> str:
    """What a store response says of instances that were not stored; empty where all were."""
    failed = _values(body, _FAILED_SOP_SEQUENCE) or _unmentioned(body, request)
    if not failed:
        return ""
    item = failed[0] if isinstance(failed[0], dict) else {}
    reason = _first_value(item, _FAILURE_REASON) or ""
    shown = f"0x{int(reason):04X}" if _UNSIGNED_SHORT.fullmatch(reason) else "not given"
    uid = scrub(_first_value(item, _REFERENCED_SOP_INSTANCE_UID) or "not named")
    return f"{len(failed)} instances were not stored, {uid} first (failure reason {shown})"


def _unmentioned(body: dict[str, Any], request: Request) -> list[Any]:
    """Items for the instances that are missing among the stored; Orthanc 1.10 says no more."""
    if _REFERENCED_SOP_SEQUENCE not in body:
        return []
    items = _values(body, _REFERENCED_SOP_SEQUENCE)
    stored = {
        _first_value(item, _REFERENCED_SOP_INSTANCE_UID) for item in items if isinstance(item, dict)
    }
    missing = (uid for uid in request.sop_instance_uids if uid not in stored)
    return [{_REFERENCED_SOP_INSTANCE_UID: {"Value": [uid]}} for uid in missing]


def _values(attributes: dict[str, Any], tag: str) -> list[Any]:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _first_value(attributes: dict[str, Any], tag: str) -> str | None:
    values = _values(attributes, tag)
    return str(values[0]) if values else None
