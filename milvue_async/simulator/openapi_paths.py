"""The paths of the simulator's OpenAPI document: routes, parameters, answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from milvue_async.simulator.parameters import ENUM_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SECURITY_SCHEME", "paths", "refusals"]

_Json = dict[str, Any]

SECURITY_SCHEME = "APIKeyHeader"
_DICOM_PARTS = "multipart/related"
_DICOM = "application/dicom"
_UID = "Study Instance UID (0020,000D)."
_KEPT = "Kept with the study, and told in the account."
_PARAMETERS = {
    "signed_url": "Transfer the DICOM files by signed URLs instead of in this exchange.",
    "organizationId": _KEPT,
    "siteId": _KEPT,
    "analysisId": _KEPT,
    "accept": "Media types that the client takes. Without `application/json` a status comes as "
    "the one part of a multipart.",
    "inference_command": "Whose results are wanted.",
    "output_format": "How images show what was found.",
    "language": "Of the words in the results.",
    "timezone": "IANA name of the time zone for dates and times in the results.",
    "output_selection": "Which images are made.",
    "recap_theme": "Colours of the summary image.",
    "structured_report_format": "How detailed the DICOM structured report is.",
    "static_report_format": "What the report page is.",
    "expires": "Until when the URL is good.",
    "signature": "What makes the URL good.",
}
_REFUSALS = {
    400: "The request cannot be understood, or the study has no results because it failed.",
    403: "The API key, or what else lets a client in, is missing or not known.",
    404: "No such study, or not all of its instances have come.",
    413: "The body is longer than the simulator takes.",
    429: "A quota is used up.",
}
_API_REFUSALS = (400, 403, 404, 429)
_BINARY = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}
_ARRAY = {"type": "array", "items": _OBJECT}
_AHEAD = {
    "type": "object",
    "required": ["ahead"],
    "properties": {"ahead": {"type": "number", "minimum": 0, "description": "Seconds."}},
}
_SIGNED_URL = {"type": "boolean", "default": False}


def paths() -> _Json:
    """Every path, with its operations; their operationIds are the names of the routes."""
    return {**_api_paths(), **_storage_paths(), **_page_paths(), **_control_paths()}


def refusals() -> _Json:
    """The answers that operations refer to."""
    error = _ref("ErrorResponse")
    found = {_name(status): _answer(words, error) for status, words in _REFUSALS.items()}
    found[_name(429)]["headers"] = {
        "Retry-After": {
            "description": "Whole seconds to wait, where the simulator was told to say so.",
            "schema": {"type": "integer", "minimum": 0},
        }
    }
    return found


def _api_paths() -> _Json:
    study = _path("study_instance_uid", _UID)
    status = _answer("How far it is.", _ref("GetStudyStatusResponseV3"))
    findings = _answer("They, or why there are none.", _ref("GetSmarturgencesResponseV3"))
    measures = _answer("They, or why there are none.", _ref("GetSmartxpertResponseV3"))
    languages = [study, _enum("language")]
    flagged = [_path("StudyInstanceUID", _UID)]
    return {
        "/v3/studies": {"post": _post_study()},
        "/v3/studies/{study_instance_uid}": {"get": _get_study(study)},
        "/v3/studies/{study_instance_uid}/status": {
            "get": _api("get_status", "How far a study is", [study], status),
        },
        "/v3/smarturgences/{study_instance_uid}": {
            "get": _api("get_smarturgences", "The findings in a study", languages, findings),
        },
        "/v3/smartxpert/{study_instance_uid}": {
            "get": _api("get_smartxpert", "The measures in a study", [study], measures),
        },
        "/v3/interesting/{StudyInstanceUID}": {
            "post": _api("post_interesting", "Flag a study", flagged, _answer("It is.", {})),
        },
    }


def _post_study() -> _Json:
    texts = ("organizationId", "siteId", "analysisId")
    parameters = [
        _query("signed_url", _SIGNED_URL),
        *(_query(name, _TEXT) for name in texts),
        _accept(),
    ]
    answers = [_ref("PostDicomWebResponseV3"), _ref("PostSignedUrlResponseV3")]
    accepted = _answer("The study is accepted.", {"anyOf": answers})
    operation = _api("post_study", "Send all of a study, or announce it", parameters, accepted)
    operation["responses"].update(_refused([413]))
    words = (
        "The DICOM files, one a part (STOW-RS, DICOM PS3.18 section 10.5). With `signed_url` their "
        "PixelData may be empty."
    )
    return {**operation, "requestBody": _body(_DICOM_PARTS, _BINARY, words)}


def _get_study(study: _Json) -> _Json:
    parameters = [
        study,
        _query("inference_command", _ref("InferenceCommandEnum"), required=True),
        _query("signed_url", _SIGNED_URL),
        _query("timezone", _TEXT),
        *(_enum(name) for name in ENUM_PARAMETERS),
        _accept(),
    ]
    ok = _answer("They, one a part; or why there are none.", _ref("GetStudyResponseV3"))
    ok["content"][_DICOM_PARTS] = {"schema": _BINARY}
    return _api("get_study", "The DICOM results of a study", parameters, ok)


def _storage_paths() -> _Json:
    parameters = [
        _path("name", "The object's name, its slashes written `%2F`."),
        _query("expires", _TEXT, required=True),
        _query("signature", _TEXT, required=True),
    ]
    stored = {"description": "It is stored."}
    got = {"description": "The file.", "content": {_DICOM: {"schema": _BINARY}}}
    put = _keyed("put_object", "Put an announced instance, by its signed URL", parameters, stored)
    put["requestBody"] = _body(_DICOM, _BINARY, "The DICOM file.")
    put["responses"].update(_refused([400, 403, 404, 413]))
    get = _keyed("get_object", "Get a result, by its signed URL", parameters, got)
    get["responses"].update(_refused([400, 403]))
    return {"/blobs/{name}": {"put": put, "get": get}}


def _page_paths() -> _Json:
    page = {"description": "HTML.", "content": {"text/html": {"schema": _TEXT}}}
    document = _answer("OpenAPI 3.1.", _OBJECT)
    return {
        "/": {"get": _open("get_page", "A page for people: the queue and the studies", page)},
        "/openapi.json": {"get": _open("get_openapi", "This document", document)},
    }


def _control_paths() -> _Json:
    """Without a key, for clients on the same machine alone."""
    study = {"parameters": [_path("study_instance_uid", _UID)]}
    overview = _answer("What the page shows.", _ref("Overview"))
    account = _answer("Every study, by UID.", _OBJECT)
    one = _answer("What was seen of it.", _OBJECT)
    queue = _answer("What waits and runs.", _OBJECT)
    faults = _answer("Each fault, and how often it struck.", _ARRAY)
    clock = _answer("The simulator's time.", _OBJECT)
    reset = {"204": {"description": "As after a start."}}
    new_faults = _body("application/json", {"type": "array"}, "Faults, as text or as objects.")
    new_clock = _body("application/json", _AHEAD, "How far ahead of real time it is from now on.")
    return {
        "/control/overview": {"get": _local("get_overview", "What the page shows", overview)},
        "/control/account": {"get": _local("get_account", "What was seen", account)},
        "/control/account/{study_instance_uid}": {
            "get": {**_local("get_study_account", "What was seen of a study", one, 404), **study},
        },
        "/control/queue": {"get": _local("get_queue", "What waits and runs", queue)},
        "/control/faults": {
            "get": _local("get_faults", "What goes wrong", faults),
            "put": {
                **_local("put_faults", "Have these faults instead", faults, 400),
                "requestBody": new_faults,
            },
            "delete": _local("delete_faults", "Have no fault any more", faults),
        },
        "/control/clock": {
            "get": _local("get_clock", "What time it is", clock),
            "put": {
                **_local("put_clock", "Put the clock forward", clock, 400),
                "requestBody": new_clock,
            },
        },
        "/control/reset": {
            "post": {
                **_open("post_reset", "Forget everything", {}),
                "responses": {**reset, **_refused([403])},
            },
        },
    }


def _api(name: str, summary: str, parameters: list[_Json], ok: _Json) -> _Json:
    operation = _keyed(name, summary, parameters, ok)
    wrong = _answer("A parameter's value is not known.", _ref("HTTPValidationError"))
    operation["responses"].update({**_refused(_API_REFUSALS), "422": wrong})
    return operation


def _keyed(name: str, summary: str, parameters: list[_Json], ok: _Json) -> _Json:
    security = [{SECURITY_SCHEME: list[str]()}]
    return {**_open(name, summary, ok), "security": security, "parameters": parameters}


def _local(name: str, summary: str, ok: _Json, *statuses: int) -> _Json:
    operation = _open(name, summary, ok)
    operation["responses"].update(_refused([403, *statuses]))
    return operation


def _open(name: str, summary: str, ok: _Json) -> _Json:
    return {"operationId": name, "summary": summary, "security": [], "responses": {"200": ok}}


def _refused(statuses: Iterable[int]) -> _Json:
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in statuses}


def _name(status: int) -> str:
    """Such as ``BadRequest``."""
    return HTTPStatus(status).name.title().replace("_", "")


def _answer(description: str, schema: _Json) -> _Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(content_type: str, schema: _Json, description: str) -> _Json:
    content = {content_type: {"schema": schema}}
    return {"required": True, "description": description, "content": content}


def _ref(schema: str) -> _Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _path(name: str, description: str) -> _Json:
    common = {"name": name, "in": "path", "required": True, "schema": _TEXT}
    return {**common, "description": description}


def _query(name: str, schema: _Json, *, required: bool = False) -> _Json:
    common = {"name": name, "in": "query", "required": required, "schema": schema}
    return {**common, "description": _PARAMETERS[name]}


def _enum(name: str) -> _Json:
    enum, default = ENUM_PARAMETERS[name]
    return _query(name, {**_ref(enum.__name__), "default": default})


def _accept() -> _Json:
    return {**_query("accept", _TEXT), "in": "header"}
