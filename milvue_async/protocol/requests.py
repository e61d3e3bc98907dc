"""Each route of the API: the request to make, and what its answer means.

Nothing here sends anything. A `Request` says what to send; `transport` adds the root of the API
and the key. A `Reply` is a whole answer; results that are streamed go through `results` instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from milvue_async.errors import ConfigurationError, ProtocolError
from milvue_async.protocol.uids import validate_uid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EXPIRED_STATUSES",
    "Reply",
    "Request",
    "interesting_request",
    "retrieve_request",
    "signed_get_request",
    "signed_put_request",
    "smarturgences_request",
    "smartxpert_request",
    "status_request",
    "store_request",
]

STORE_ROUTE = "POST /v3/studies"
STATUS_ROUTE = "GET /v3/studies/{study_instance_uid}/status"
RETRIEVE_ROUTE = "GET /v3/studies/{study_instance_uid}"
SMARTURGENCES_ROUTE = "GET /v3/smarturgences/{study_instance_uid}"
SMARTXPERT_ROUTE = "GET /v3/smartxpert/{study_instance_uid}"
INTERESTING_ROUTE = "POST /v3/interesting/{study_instance_uid}"
SIGNED_PUT_ROUTE = "PUT signed URL"
SIGNED_GET_ROUTE = "GET signed URL"
# What object storage answers to a signed URL that is expired or was used up: S3 and Azure 403,
# Google 400, and some 401, 404 or 410.
EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})

_JSON = "application/json"
_STORE_PARAMETERS = {
    "organization_id": "organizationId",
    "site_id": "siteId",
    "analysis_id": "analysisId",
}
_RETRIEVE_PARAMETERS = {
    name: name
    for name in (
        "output_format",
        "language",
        "timezone",
        "output_selection",
        "recap_theme",
        "structured_report_format",
        "static_report_format",
    )
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without the key.

    Attributes:
        method: HTTP method.
        target: A path below the root of the API, or for a signed URL the whole of it. It is kept
            out of the repr, since the query of a signed URL is a credential.
        route: Method and path template, for errors and logs.
        query: Query parameters in order.
        headers: Headers besides the key.
        study_instance_uid: The study concerned.
        is_signed: Whether ``target`` is a signed URL.
        submits: Whether the server may start work that is paid for.
        is_transfer: Whether it moves images, and so has no deadline while bytes flow.
        sop_instance_uids: SOPInstanceUIDs of the instances that it is to have stored.
    """

    method: str
    target: str = field(repr=False)
    route: str
    study_instance_uid: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    is_signed: bool = False
    submits: bool = False
    is_transfer: bool = False
    sop_instance_uids: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer.

    Attributes:
        status: HTTP status code.
        headers: Names in lower case.
        body: Bytes as they came, a ``Content-Encoding`` undone.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def store_request(
    study_instance_uid: str,
    content_type: str,
    *,
    accept: str = _JSON,
    signed_url: bool = False,
    parameters: Mapping[str, object] | None = None,
    sop_instance_uids: tuple[str, ...] = (),
) -> Request:
    """``POST /v3/studies`` (STOW-RS, PS3.18 section 10.5).

    Args:
        study_instance_uid: The study that all the instances belong to.
        content_type: With the boundary of the body.
        accept: What the server is asked to answer with.
        signed_url: Ask for URLs to put the instances to; the body's images are then empty.
        parameters: ``organization_id``, ``site_id``, ``analysis_id``; None leaves one out.
        sop_instance_uids: Of the instances in the body, which the answer is held against.

    Raises:
        ConfigurationError: A parameter that the route does not have.
        InvalidUIDError: The study's UID is none.
    """
    query = _query(parameters, _STORE_PARAMETERS, STORE_ROUTE)
    return Request(
        method="POST",
        target="/v3/studies",
        route=STORE_ROUTE,
        study_instance_uid=validate_uid(study_instance_uid, "StudyInstanceUID"),
        query=(("signed_url", _boolean(signed_url)), *query),
        headers=(("Content-Type", content_type), ("Accept", accept)),
        # Pixel-less copies start no prediction; the images that follow do.
        submits=not signed_url,
        is_transfer=True,
        sop_instance_uids=sop_instance_uids,
    )


def status_request(study_instance_uid: str) -> Request:
    """``GET /v3/studies/{study_instance_uid}/status``.

    Raises:
        InvalidUIDError: The UID is none.
    """
    return _json_request("GET", "/v3/studies/{}/status", STATUS_ROUTE, study_instance_uid)


def retrieve_request(
    study_instance_uid: str,
    inference_command: str,
    *,
    accept: str,
    signed_url: bool = False,
    parameters: Mapping[str, object] | None = None,
) -> Request:
    """``GET /v3/studies/{study_instance_uid}`` (WADO-RS, PS3.18 section 10.4).

    Args:
        study_instance_uid: The study.
        inference_command: ``smarturgences``, ``smartxpert``, or another the account has.
        accept: What the server is asked to answer with; for signed URLs always JSON.
        signed_url: Ask for URLs to get the results from.
        parameters: ``output_format``, ``language``, ``timezone``, ``output_selection``,
            ``recap_theme``, ``structured_report_format``, ``static_report_format``; None leaves
            one out, and the server's own default holds.

    Raises:
        ConfigurationError: A parameter that the route does not have, or an empty command.
        InvalidUIDError: The UID is none.
    """
    command = str(inference_command)
    if not command:
        msg = "inference_command is empty: name one, such as smarturgences"
        raise ConfigurationError(msg, route=RETRIEVE_ROUTE)
    uid = validate_uid(study_instance_uid, "StudyInstanceUID")
    query = _query(parameters, _RETRIEVE_PARAMETERS, RETRIEVE_ROUTE)
    return Request(
        method="GET",
        target=f"/v3/studies/{uid}",
        route=RETRIEVE_ROUTE,
        study_instance_uid=uid,
        query=(("inference_command", command), ("signed_url", _boolean(signed_url)), *query),
        headers=(("Accept", _JSON if signed_url else accept),),
        is_transfer=not signed_url,
    )


def smarturgences_request(study_instance_uid: str, *, language: str | None = None) -> Request:
    """``GET /v3/smarturgences/{study_instance_uid}``.

    Raises:
        InvalidUIDError: The UID is none.
    """
    query = () if language is None else (("language", str(language)),)
    route, path = SMARTURGENCES_ROUTE, "/v3/smarturgences/{}"
    return _json_request("GET", path, route, study_instance_uid, query)


def smartxpert_request(study_instance_uid: str) -> Request:
    """``GET /v3/smartxpert/{study_instance_uid}``.

    Raises:
        InvalidUIDError: The UID is none.
    """
    return _json_request("GET", "/v3/smartxpert/{}", SMARTXPERT_ROUTE, study_instance_uid)


def interesting_request(study_instance_uid: str) -> Request:
    """``POST /v3/interesting/{study_instance_uid}``.

    Raises:
        InvalidUIDError: The UID is none.
    """
    return _json_request("POST", "/v3/interesting/{}", INTERESTING_ROUTE, study_instance_uid)


def signed_put_request(url: str, study_instance_uid: str, *, api_url: str) -> Request:
    """PUT of one whole instance to object storage.

    Args:
        url: The signed URL as the API gave it.
        study_instance_uid: The study that the instance belongs to.
        api_url: Root of the API: where that is https, so must ``url`` be.

    Raises:
        ProtocolError: The URL cannot be used, or would send the key in clear.
    """
    _check_signed_url(url, api_url, SIGNED_PUT_ROUTE, study_instance_uid)
    return Request(
        method="PUT",
        target=url,
        route=SIGNED_PUT_ROUTE,
        study_instance_uid=study_instance_uid,
        headers=(("Content-Type", "application/dicom"), ("x-ms-blob-type", "BlockBlob")),
        is_signed=True,
        is_transfer=True,
    )


def signed_get_request(url: str, study_instance_uid: str, *, api_url: str) -> Request:
    """GET of one result from object storage; arguments and errors as `signed_put_request`."""
    _check_signed_url(url, api_url, SIGNED_GET_ROUTE, study_instance_uid)
    return Request(
        method="GET",
        target=url,
        route=SIGNED_GET_ROUTE,
        study_instance_uid=study_instance_uid,
        is_signed=True,
        is_transfer=True,
    )


def _json_request(
    method: str, path: str, route: str, uid: str, query: tuple[tuple[str, str], ...] = ()
) -> Request:
    uid = validate_uid(uid, "StudyInstanceUID")
    accept = (("Accept", _JSON),)
    return Request(method, path.format(uid), route, uid, query=query, headers=accept)


def _check_signed_url(url: str, api_url: str, route: str, uid: str) -> None:
    problem = _signed_url_problem(url, api_url)
    if problem:
        msg = f"the API gave a signed URL that {problem}"
        raise ProtocolError(msg, route=route, study_instance_uid=uid)


def _signed_url_problem(url: str, api_url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "cannot be read"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "is not an http(s) URL"
    if parts.scheme == "http" and urlsplit(api_url).scheme == "https":
        return "is not encrypted, though the API is"
    if parts.username is not None or parts.password is not None:
        return "carries a user name"
    if not (url.isascii() and url.isprintable()) or " " in url:
        return "has characters that a URL may not carry"
    return None


def _query(
    parameters: Mapping[str, object] | None, known: Mapping[str, str], route: str
) -> tuple[tuple[str, str], ...]:
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    unknown = sorted(set(given) - set(known))
    if unknown:
        msg = f"{route} has no parameter {', '.join(unknown)}; it has {', '.join(known)}"
        raise ConfigurationError(msg, route=route)
    return tuple((known[name], str(given[name])) for name in known if name in given)


def _boolean(value: bool) -> str:
    return "true" if value else "false"
