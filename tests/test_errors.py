"""The tree of errors: as drawn, whole after pickling, and one clear line each."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

import milvue_async
from milvue_async import errors
from milvue_async.errors import (
    APIError,
    InvalidStudyError,
    MilvueError,
    QuotaExceededError,
    RequestTimeoutError,
    RequestValidationError,
    ServerError,
    TransportError,
)
from milvue_async.protocol.models import ValidationError

CLASSES = [getattr(errors, name) for name in errors.__all__]
_BRANCH = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+Error)\b", re.MULTILINE)


def drawn_tree() -> dict[str, str]:
    """Class to its parent, as the docstring draws them."""
    above: list[str] = []
    parents = {}
    for branch in _BRANCH.finditer(errors.__doc__ or ""):
        depth = (len(branch["indent"]) - 4) // 4
        if depth:
            parents[branch["name"]] = above[depth - 1]
        above[depth:] = [branch["name"]]
    return parents


def test_the_tree_is_the_one_that_the_docstring_draws() -> None:
    actual = {cls.__name__: cls.__base__.__name__ for cls in CLASSES if cls is not MilvueError}
    assert actual == drawn_tree()
    assert len(actual) == 17


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_public_and_one_of_ours(cls: type[MilvueError]) -> None:
    assert getattr(milvue_async, cls.__name__) is cls
    assert issubclass(cls, MilvueError)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_carries_its_route_study_and_status_through_pickle_and_copy(
    cls: type[MilvueError],
) -> None:
    error = cls(
        "what was wrong",
        route="GET /x",
        study_instance_uid="1.2",
        status=418,
        retryable=True,
        in_doubt=True,
    )
    error.add_note("a note")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301  made here
        assert type(other) is cls
        assert vars(other) == vars(error)
        assert (other.route, other.study_instance_uid, other.status) == ("GET /x", "1.2", 418)
        assert (other.retryable, other.in_doubt) == (True, True)
        assert str(other) == str(error)
        assert other.__notes__ == ["a note"]


@pytest.mark.parametrize(
    "error",
    [
        QuotaExceededError("m", retry_after=7.5),
        ServerError("m", retry_after=7.5),
        RequestValidationError("m", details=[ValidationError(loc=["q"], msg="m", type="t")]),
        InvalidStudyError("m", source="/a/file.dcm"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_only_some_errors_carry_goes_through_pickle(error: MilvueError) -> None:
    other = pickle.loads(pickle.dumps(error))  # noqa: S301  made here
    assert vars(other) == vars(error)


def test_an_error_reads_as_one_line_with_what_is_known() -> None:
    assert str(MilvueError("it broke")) == "it broke"
    assert str(MilvueError("it broke", study_instance_uid="1.2")) == "it broke (study 1.2)"
    whole = APIError("no", route="GET /v3/x", study_instance_uid="1.2", status=404)
    assert str(whole) == "no (HTTP 404, GET /v3/x, study 1.2)"


def test_only_what_may_pass_is_worth_another_try() -> None:
    retryable = {cls for cls in CLASSES if cls.retryable}
    assert retryable == {TransportError, RequestTimeoutError, QuotaExceededError}
    assert not TransportError("TLS failed", retryable=False).retryable
    assert TransportError("reset").retryable


def test_what_is_known_already_is_not_overwritten() -> None:
    error = MilvueError("m", route="GET /first")
    assert error.concerning(route="GET /second", study_instance_uid="1.2") is error
    assert (error.route, error.study_instance_uid) == ("GET /first", "1.2")


def test_details_cannot_be_changed_from_outside() -> None:
    details = ["a"]
    error = RequestValidationError("m", details=details)
    details.append("b")
    assert error.details == ("a",)
