"""The simulator's own OpenAPI document: what the vendor's says, in other words, and what is so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from milvue_async.simulator import SimulatorConfig, create_app
from milvue_async.simulator.faults import ROUTE_NAMES
from milvue_async.simulator.openapi import openapi_document
from tests.simulator import contract
from tests.simulator.support import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.contract import Contract

_VENDOR_PREFIX = "integrator__schemas__external__"
_METHODS = {"get", "put", "post", "delete"}

needs_vendor_document = pytest.mark.skipif(
    not contract.DOCUMENT.exists(), reason="reference document not here: the vendor's OpenAPI"
)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Path and method to operation."""
    return {
        (path, method): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    }


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            yield from nodes(child)


def schemas(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = document["components"]["schemas"].items()
    return {name.removeprefix(_VENDOR_PREFIX): schema for name, schema in found}


def parameters(held: Contract, operation: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Name and place to whether it is required, and which values it may have."""
    return {
        (each["name"], each["in"]): (each["required"], held.resolve(each["schema"]).get("enum"))
        for each in operation.get("parameters", [])
    }


@needs_vendor_document
class TestBesideTheVendorsDocument:
    def test_it_has_the_same_operations(self) -> None:
        ours = {key for key in operations(contract.own().document) if key[0].startswith("/v3/")}
        assert ours == set(operations(contract.vendor().document))

    def test_the_operations_have_the_same_parameters(self) -> None:
        ours = operations(contract.own().document)
        for key, operation in operations(contract.vendor().document).items():
            mine = parameters(contract.own(), ours[key])
            theirs = parameters(contract.vendor(), operation)
            assert mine.keys() == theirs.keys(), key
            for name, (is_required, values) in theirs.items():
                # the document has the language of smarturgences as any text, though it lists six
                expected = values or (mine[name][1] if name[0] == "language" else None)
                assert mine[name] == (is_required, expected), (key, name)

    def test_the_operations_have_the_same_answers_and_one_for_too_long_a_body(self) -> None:
        ours = operations(contract.own().document)
        for key, operation in operations(contract.vendor().document).items():
            more = {"413"} if key == ("/v3/studies", "post") else set()
            assert ours[key]["responses"].keys() == operation["responses"].keys() | more, key

    def test_the_answers_have_the_same_schemas(self) -> None:
        ours = operations(contract.own().document)
        for key, operation in operations(contract.vendor().document).items():
            for status, answer in operation["responses"].items():
                mine = contract.own().resolve(ours[key]["responses"][status])
                theirs = answer["content"]["application/json"]["schema"]
                found = mine["content"]["application/json"]["schema"]
                assert names(found) == names(theirs), (key, status)

    def test_it_has_the_same_schemas_with_the_same_fields(self) -> None:
        ours, theirs = schemas(contract.own().document), schemas(contract.vendor().document)
        assert theirs.keys() <= ours.keys()
        for name, schema in theirs.items():
            assert ours[name].get("enum") == schema.get("enum"), name
            assert set(ours[name].get("required", ())) == set(schema.get("required", ())), name
            assert ours[name].get("properties", {}).keys() == schema.get("properties", {}).keys(), (
                name
            )

    def test_the_fields_have_the_same_types(self) -> None:
        ours, theirs = schemas(contract.own().document), schemas(contract.vendor().document)
        for name, schema in theirs.items():
            for field, value in schema.get("properties", {}).items():
                mine = shape(contract.own(), ours[name]["properties"][field])
                assert mine == shape(contract.vendor(), value), (name, field)

    def test_the_key_goes_by_the_same_header(self) -> None:
        ours, theirs = (
            document["components"]["securitySchemes"]["APIKeyHeader"]
            for document in (contract.own().document, contract.vendor().document)
        )
        assert {**ours, "description": ""} == {**theirs, "description": ""}

    def test_its_words_are_its_own(self) -> None:
        ours, theirs = (
            {node["description"] for node in nodes(document) if is_text(node.get("description"))}
            for document in (contract.own().document, contract.vendor().document)
        )
        assert ours & theirs == set()


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) > len("Optional message")


def names(schema: dict[str, Any]) -> set[str]:
    """The schemas that one refers to."""
    found = (node.get("$ref") for node in nodes(schema))
    return {ref.rpartition("/")[2] for ref in found if isinstance(ref, str)}


def shape(held: Contract, schema: dict[str, Any]) -> Any:
    """A schema without its words."""
    schema = held.resolve(schema)
    if "allOf" in schema:
        return shape(held, schema["allOf"][0])
    if schema.get("type") == "array":
        return [shape(held, schema["items"])]
    if "anyOf" in schema:
        return {str(shape(held, each)) for each in schema["anyOf"]}
    return schema["type"], str(schema.get("enum"))


def test_it_tells_of_exactly_the_routes_that_are_served() -> None:
    def nameless(path: str) -> str:
        return re.sub(r"\{\w+\}", "{}", path)

    served = {
        (nameless(route.resource.canonical), route.method.lower())
        for route in create_app(SimulatorConfig()).router.routes()
        if route.resource is not None
    }
    static = {path for path, _ in served if path.startswith("/page/")}
    told = {(nameless(path), method) for path, method in operations(openapi_document())}
    assert told == {key for key in served if key[0] not in static}


def test_the_operations_of_the_api_and_its_storage_have_the_names_that_faults_go_by() -> None:
    named = {
        operation["operationId"]
        for (path, _), operation in operations(openapi_document()).items()
        if path.startswith(("/v3/", "/blobs/"))
    }
    assert named == set(ROUTE_NAMES)


def test_every_reference_leads_to_something() -> None:
    held = contract.own()
    references = [node for node in nodes(held.document) if "$ref" in node]
    assert references
    for reference in references:
        assert held.resolve(reference)


def test_its_schemas_are_json_schema() -> None:
    for schema in openapi_document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_and_parameter_and_answer_says_what_it_is() -> None:
    for key, operation in operations(openapi_document()).items():
        assert operation["summary"], key
        assert all(each["description"] for each in operation.get("parameters", [])), key
        for answer in operation["responses"].values():
            assert contract.own().resolve(answer)["description"], key


async def test_it_is_served_to_whom_has_no_key(api: Api) -> None:
    keyless = Api(api.session, api.simulator, headers={})
    answer = await keyless.get("/openapi.json")
    assert answer.status == 200
    assert answer.json() == openapi_document()
