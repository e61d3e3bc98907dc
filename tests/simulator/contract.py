"""The vendor's OpenAPI document, where it is at hand: each JSON answer is held against it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own

DOCUMENT = Path(__file__).parents[3] / "shared" / "reference" / "milvue-api-v3.openapi.json"
_OF_ANY_SERVER = {404, 405, 413}  # statuses that the document leaves to HTTP


def check(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Hold an answer's JSON against the document, if it is there.

    Raises:
        jsonschema.ValidationError: The document does not allow it.
        AssertionError: The document does not know the route, or its status.
    """
    if content_type == "application/json" and DOCUMENT.exists():
        schema = _schema(method.lower(), path, status)
        root = {**schema, "components": _document()["components"]}
        jsonschema.validate(json.loads(body), root)


def _schema(method: str, path: str, status: int) -> dict[str, Any]:
    responses = _responses(method, path)
    storage = path.startswith("/blobs/")  # not part of the API
    if str(status) not in responses and (storage or status in _OF_ANY_SERVER):
        return {"$ref": "#/components/schemas/ErrorResponse"}
    assert str(status) in responses, f"{method} {path}: {status} is not documented"
    schema: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return schema


def _responses(method: str, path: str) -> dict[str, Any]:
    for template, operations in _document()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            responses: dict[str, Any] = operations.get(method, {}).get("responses", {})
            return responses
    return {}


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return document
