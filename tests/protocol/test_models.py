"""The models are those of the vendor's OpenAPI document, and lose nothing that a server says."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from milvue_async.protocol import models
from milvue_async.protocol.models import (
    GetSmarturgencesResponseV3,
    GetSmartxpertResponseV3,
    InferenceStatusEnum,
    OpenEnum,
    ResponseV3,
    Schema,
    SmarturgencesV3,
    SmartxpertV3,
    StudyStatus,
    StudyStatusEnum,
)
from tests.protocol import openapi

if TYPE_CHECKING:
    from collections.abc import Mapping

UID = "1.2.3"
DONE_SMARTXPERT = {"StudyInstanceUID": UID, "status": "done", "version": "2", "instances": []}
DONE_SMARTURGENCES = {
    **DONE_SMARTXPERT,
    "flag": {"score": 0.5, "label": "doubt"},
    "hl7": "MSH|",
    "findings": [],
}
ALL_OPEN_ENUMS = [
    value
    for value in vars(models).values()
    if isinstance(value, type) and issubclass(value, OpenEnum) and value is not OpenEnum
]


def model(schema_name: str) -> type[Schema]:
    found: type[Schema] = getattr(models, openapi.name_of(schema_name))
    assert issubclass(found, Schema)
    return found


@openapi.skip_without_document
@pytest.mark.parametrize("name", openapi.objects())
def test_a_schema_has_a_model_of_exactly_its_properties(name: str) -> None:
    schema = openapi.objects()[name]
    fields = model(name).model_fields
    assert set(fields) == set(schema["properties"])
    required = {field for field, info in fields.items() if info.is_required()}
    assert required == set(schema.get("required", ()))


@openapi.skip_without_document
@pytest.mark.parametrize("name", openapi.enums())
def test_an_enumeration_lists_exactly_the_documented_values(name: str) -> None:
    enum: type[OpenEnum] = getattr(models, name)
    assert [member.value for member in enum] == openapi.enums()[name]


@openapi.skip_without_document
def test_every_open_enumeration_is_one_of_the_document() -> None:
    assert {enum.__name__ for enum in ALL_OPEN_ENUMS} == set(openapi.enums())


@openapi.skip_without_document
@pytest.mark.parametrize("name", openapi.objects())
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_a_schema_allows_is_read_and_written_again_unchanged(
    name: str, data: st.DataObject
) -> None:
    example = data.draw(openapi.examples(name))
    read = model(name).model_validate_json(json.dumps(example))
    assert json.loads(read.to_json()) == example


@pytest.mark.parametrize("enum", ALL_OPEN_ENUMS)
@settings(max_examples=15, deadline=None)
@given(value=st.text())
def test_an_unknown_value_of_an_enumeration_is_kept_as_it_came(
    enum: type[OpenEnum], value: str
) -> None:
    known = {member.value for member in enum}
    kept = enum(value)
    assert kept == value
    assert str(kept) == value
    assert kept.is_known is (value in known)
    assert enum(value) == kept
    assert {kept: 1}[enum(value)] == 1
    assert pickle.loads(pickle.dumps(kept)) == kept  # noqa: S301  made here
    assert {member.value for member in enum} == known


def test_an_enumeration_takes_nothing_but_text() -> None:
    with pytest.raises(ValueError, match="7"):
        StudyStatusEnum(7)  # type: ignore[arg-type]  # that it is refused is the point


def test_an_unknown_label_or_status_survives_from_parsing_to_writing() -> None:
    answer = {**DONE_SMARTURGENCES, "flag": {"score": 1.0, "label": "très_doubtful"}}
    read = SmarturgencesV3.model_validate_json(json.dumps(answer))
    assert read.flag.label == "très_doubtful"
    assert not read.flag.label.is_known
    assert json.loads(read.to_json()) == answer


def test_fields_that_no_schema_names_are_kept() -> None:
    answer = {**DONE_SMARTXPERT, "queue": {"position": 3}, "to_json": "a name of a method"}
    read = SmartxpertV3.model_validate_json(json.dumps(answer))
    assert json.loads(read.to_json()) == answer
    assert read["queue"] == {"position": 3}
    assert read["to_json"] == "a name of a method"


def test_fields_that_were_left_out_stay_out() -> None:
    written = json.loads(SmartxpertV3.model_validate(DONE_SMARTXPERT).to_json())
    assert "message" not in written


def test_a_model_is_read_like_the_dictionary_of_the_vendors_sdk() -> None:
    answer = {"StudyInstanceUID": UID, "status": "done", "version": "2", "eta": 5}
    status = StudyStatus.model_validate(answer)
    assert status["status"] == "done"
    assert status["StudyInstanceUID"] == UID
    assert status["message"] is None
    assert status["eta"] == 5
    for missing in ("nothing", "model_fields", "__class__"):
        with pytest.raises(KeyError, match=missing):
            status[missing]


def test_a_model_cannot_be_changed() -> None:
    status = StudyStatus(StudyInstanceUID=UID, status=StudyStatusEnum.DONE, version="2")
    with pytest.raises(ValidationError, match="frozen"):
        status.version = "3"  # type: ignore[misc]  # that it is refused is the point


def test_a_model_without_a_required_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="version"):
        StudyStatus.model_validate({"StudyInstanceUID": UID, "status": "done"})


def test_a_model_goes_through_pickle_and_copy() -> None:
    read = SmarturgencesV3.model_validate({**DONE_SMARTURGENCES, "extra": [1]})
    assert pickle.loads(pickle.dumps(read)) == read  # noqa: S301  made here
    assert copy.deepcopy(read).to_json() == read.to_json()


ROUTES: list[tuple[Any, type[Schema], Mapping[str, object]]] = [
    (GetSmarturgencesResponseV3, SmarturgencesV3, DONE_SMARTURGENCES),
    (GetSmartxpertResponseV3, SmartxpertV3, DONE_SMARTXPERT),
]


@pytest.mark.parametrize(("union", "prediction", "done"), ROUTES)
@pytest.mark.parametrize("status", ["running", "forbidden", "empty", "queued", ""])
def test_any_status_but_done_is_an_answer_without_a_prediction(
    union: Any, prediction: type[Schema], done: Mapping[str, object], status: str
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(union)
    read = adapter.validate_json(json.dumps({**done, "status": status}))
    assert type(read) is ResponseV3
    assert read.status == status
    assert isinstance(read.status, InferenceStatusEnum)
    assert isinstance(adapter.validate_json(json.dumps(done)), prediction)


@pytest.mark.parametrize(("union", "prediction", "done"), ROUTES)
def test_a_model_that_was_read_already_is_told_apart_in_the_same_way(
    union: Any, prediction: type[Schema], done: Mapping[str, object]
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(union)
    running = ResponseV3(StudyInstanceUID=UID, status=InferenceStatusEnum.RUNNING, version="2")
    assert adapter.validate_python(running) is running
    finished = prediction.model_validate(done)
    assert adapter.validate_python(finished) is finished


@pytest.mark.parametrize(("union", "_prediction", "done"), ROUTES)
def test_a_prediction_that_is_done_and_lacks_its_content_is_refused(
    union: Any, _prediction: type[Schema], done: Mapping[str, object]
) -> None:
    cut = {name: value for name, value in done.items() if name != "instances"}
    with pytest.raises(ValidationError, match="instances"):
        TypeAdapter(union).validate_json(json.dumps(cut))
