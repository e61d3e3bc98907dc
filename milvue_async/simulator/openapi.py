"""The simulator's own OpenAPI document: what it answers, route by route, in our words.

Schemas come from the models the answers are made of, parameters from the enumerations they are
checked against, so that the document cannot say something else than the simulator does.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from milvue_async.protocol import models
from milvue_async.simulator.openapi_paths import SECURITY_SCHEME, paths, refusals
from milvue_async.simulator.overview import Overview
from milvue_async.simulator.parameters import ENUM_PARAMETERS

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue
    from pydantic_core import core_schema

__all__ = ["openapi_document", "openapi_json"]

_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTION = """\
A simulated Milvue AI API v3, to develop and test against. Every result is made up and says so.

A method that a path does not have gets a 405, a path that is not here a 404, each with an
`ErrorResponse`. Where a fault was asked for, a route may answer anything.
"""
_KEY_DESCRIPTION = "The API key, a UUIDv4 such as `22209633-26ea-4b35-a197-e55c375dc36f`."
_FIELDS = {
    "StudyInstanceUID": "Study Instance UID (0020,000D).",
    "SeriesInstanceUID": "Series Instance UID (0020,000E).",
    "SOPInstanceUID": "SOP Instance UID (0008,0018).",
    "version": "What made the answer; `simulated` here.",
    "message": "A word for people.",
    "retrieve_url": "Where the results will be.",
    "hl7": "The results as an HL7 v2 message, ORU^R01.",
    "flag": "The result of the whole study.",
    "translation": "The value in words, in each language.",
    "score": "Between 0 and 1.",
    "value": "What was predicted, as an identifier.",
    "measure": "The number, in `unit`.",
    "unit": "Such as `mm` or `deg`.",
}
_DONE = {"type": "string", "enum": ["done"]}
_NOT_DONE = {"type": "string", "enum": ["running", "forbidden"]}


@cache
def openapi_json() -> bytes:
    """The document as it is served."""
    return json.dumps(openapi_document(), indent=2).encode()


def openapi_document() -> dict[str, Any]:
    """The document: OpenAPI 3.1, its schemas JSON Schema 2020-12."""
    key = {"type": "apiKey", "in": "header", "name": "x-goog-meta-owner"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Milvue AI API v3, simulated",
            "version": "3",
            "description": _DESCRIPTION,
        },
        "paths": paths(),
        "components": {
            "schemas": _schemas(),
            "responses": refusals(),
            "securitySchemes": {SECURITY_SCHEME: {**key, "description": _KEY_DESCRIPTION}},
        },
    }


class _Generator(GenerateJsonSchema):
    """JSON Schema of what is written: a field without a value is left out, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  as the base has it
        return False


def _schemas() -> dict[str, Any]:
    mode: JsonSchemaMode = "serialization"
    enums: list[type[models.OpenEnum]] = [models.InferenceCommandEnum]
    enums += [enum for enum, _ in ENUM_PARAMETERS.values()]
    written: list[type[BaseModel]] = [*_models(), Overview]
    _, whole = models_json_schema(
        [(model, mode) for model in written],
        schema_generator=_Generator,
        ref_template=_REFERENCE,
    )
    found: dict[str, Any] = {name: _described(schema) for name, schema in whole["$defs"].items()}
    for enum in enums:
        values = [member.value for member in enum]
        found[enum.__name__] = {"type": "string", "enum": values, "description": enum.__doc__}
    for done in ("SmarturgencesV3", "SmartxpertV3"):
        found[done]["properties"]["status"] = _DONE
        found[f"Get{done.removesuffix('V3')}ResponseV3"] = _by_status(done)
    found["ResponseV3"]["properties"]["status"] = _NOT_DONE
    return found


def _models() -> list[type[models.Schema]]:
    found = [getattr(models, name) for name in models.__all__]
    classes = [each for each in found if isinstance(each, type) and issubclass(each, models.Schema)]
    return [each for each in classes if each is not models.Schema]


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    schema.pop("additionalProperties", None)  # this server adds no field of its own
    schema["description"] = schema["description"].replace("``", "`")
    for name, field in schema.get("properties", {}).items():
        if name in _FIELDS:
            field["description"] = _FIELDS[name]
    return schema


def _by_status(done: str) -> dict[str, Any]:
    """Either of two answers, told apart by ``status``."""
    of_done, other = (_REFERENCE.format(model=model) for model in (done, "ResponseV3"))
    return {
        "oneOf": [{"$ref": of_done}, {"$ref": other}],
        "discriminator": {
            "propertyName": "status",
            "mapping": {"done": of_done, "running": other, "forbidden": other},
        },
    }
