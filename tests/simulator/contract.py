"""The documents that every answer is held against: the simulator's own, and the vendor's.

That of the vendor is asked only where it is at hand.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own

from milvue_async.simulator.openapi import openapi_document

__all__ = ["DOCUMENT", "Contract", "check", "own", "vendor"]

DOCUMENT = Path(__file__).parents[3] / "shared" / "reference" / "milvue-api-v3.openapi.json"
_ERROR = {"$ref": "#/components/schemas/ErrorResponse"}
_JSON = "application/json"
_OF_ANY_SERVER = {404, 405, 413}  # statuses that a document may leave to HTTP


class Contract:
    """An OpenAPI document to hold answers against.

    Args:
        document: The document. Fields that its schemas do not name count as wrong.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        for schema in document["components"]["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False

    def template(self, path: str) -> str | None:
        """The path of the document that a request's path, as it goes over the wire, fits."""
        for template in self.document["paths"]:
            if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
                return str(template)
        return None

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """What the document says of a request; nothing where it does not know it."""
        operations = self.document["paths"].get(self.template(path), {})
        return dict(operations.get(method.lower(), {}))

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """What a node says, be it by reference."""
        while "$ref" in node:
            names = node["$ref"].removeprefix("#/").split("/")
            node = self.document
            for name in names:
                node = node[name]
        return node

    def check(self, method: str, path: str, status: int, content_type: str, body: bytes) -> None:
        """Hold an answer against the document.

        Raises:
            jsonschema.ValidationError: The document does not allow its JSON.
            AssertionError: The document does not know the status, or the Content-Type.
        """
        responses = self.operation(method, path).get("responses", {})
        if str(status) not in responses:
            assert status in _OF_ANY_SERVER, f"{method} {path}: {status} is not documented"
            self._check_json(body, _ERROR)
            return
        content = self.resolve(responses[str(status)]).get("content", {})
        kind = content_type.partition(";")[0]
        assert kind in content or not (body or content), f"{method} {path}: {kind} is unknown"
        if kind == _JSON:
            self._check_json(body, content[_JSON]["schema"])

    def _check_json(self, body: bytes, schema: dict[str, Any]) -> None:
        jsonschema.validate(json.loads(body), {**schema, "components": self.document["components"]})


def check(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Hold an answer against each document that speaks of it.

    Raises:
        jsonschema.ValidationError: A document does not allow its JSON.
        AssertionError: A document does not know the status, or the Content-Type.
    """
    own().check(method, path, status, content_type, body)
    if DOCUMENT.exists() and path.startswith("/v3/"):
        vendor().check(method, path, status, content_type, body)


@cache
def vendor() -> Contract:
    """The vendor's document."""
    return Contract(json.loads(DOCUMENT.read_text()))


@cache
def own() -> Contract:
    """The simulator's own."""
    return Contract(openapi_document())
