"""The vendor's OpenAPI document, where it is at hand, and examples of its schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

__all__ = ["DOCUMENT", "enums", "examples", "name_of", "objects", "skip_without_document"]

DOCUMENT = Path(__file__).parents[3] / "shared" / "reference" / "milvue-api-v3.openapi.json"
_PREFIX = "integrator__schemas__external__"

skip_without_document = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="reference document not here: the vendor's OpenAPI document"
)


@cache
def _schemas() -> dict[str, Any]:
    if not DOCUMENT.exists():
        return {}
    schemas: dict[str, Any] = json.loads(DOCUMENT.read_text())["components"]["schemas"]
    return schemas


def name_of(schema_name: str) -> str:
    """The name of the model of a schema."""
    return schema_name.removeprefix(_PREFIX)


def objects() -> dict[str, dict[str, Any]]:
    """Schemas with properties, by name."""
    return {name: schema for name, schema in _schemas().items() if "properties" in schema}


def enums() -> dict[str, list[str]]:
    """Values of each enumeration, by name."""
    return {name: schema["enum"] for name, schema in _schemas().items() if "enum" in schema}


@cache
def examples(schema_name: str) -> st.SearchStrategy[Any]:
    """JSON values that fit a schema, with fields that it does not name among them."""
    return _fitting(_schemas()[schema_name])


def _fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return st.deferred(lambda: examples(schema["$ref"].rpartition("/")[2]))
    for word in ("allOf", "oneOf", "anyOf"):
        if word in schema:
            return st.one_of([_fitting(part) for part in schema[word]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return st.lists(_fitting(schema["items"]), max_size=3)
    if kind == "object":
        return _objects_of(schema)
    return _SCALARS[str(kind)]


def _objects_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(st.text(), _fitting(schema["additionalProperties"]), max_size=3)
    properties = schema["properties"]
    required = set(schema.get("required", ()))
    known = st.fixed_dictionaries(
        {name: _fitting(properties[name]) for name in properties if name in required},
        optional={name: _fitting(properties[name]) for name in properties if name not in required},
    )
    names = st.text(min_size=1).filter(lambda name: name not in properties)
    unknown = st.dictionaries(names, st.none() | st.integers() | st.text(), max_size=2)
    return st.builds(lambda some, others: {**others, **some}, known, unknown)


_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(),
    "integer": st.integers(-(2**53), 2**53),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
}
