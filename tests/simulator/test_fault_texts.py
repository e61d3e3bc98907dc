"""Faults as options, files and the control route write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.simulator import Fault, parse_fault
from milvue_async.simulator.faults import ROUTE_NAMES, fault_from


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("**:hang", Fault(kind="hang")),
        ("get_status:garbage", Fault(kind="garbage", route="get_status")),
        (
            "POST /v3/studies:reset_after_body:0.1",
            Fault(kind="reset_after_body", route="POST /v3/studies", probability=0.1),
        ),
        (
            "GET /v3/studies/*/status:status:count=2,status=429,retry_after=1",
            Fault(
                kind="status",
                route="GET /v3/studies/*/status",
                count=2,
                status=429,
                retry_after=1,
            ),
        ),
        (
            " post_study : reset_in_body : every=3 , at=0.9 , of=answer ",
            Fault(kind="reset_in_body", route="post_study", every=3, at=0.9, of="answer"),
        ),
        ("**:delay:seconds=0.5,seed=4", Fault(kind="delay", seconds=0.5, seed=4)),
        (
            "**:status:message=a: b",
            Fault(kind="status", message="a: b"),
        ),
        (
            "**:wrong_content_type:content_type=text/plain; charset=utf-8",
            Fault(kind="wrong_content_type", content_type="text/plain; charset=utf-8"),
        ),
    ],
)
def test_a_fault_is_read_from_its_text(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert fault_from(text) == fault


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "kind"),
        ("**", "kind"),
        ("**:broken", "'status', 'early_status', 'delay'"),
        ("*:hang", "neither|no path"),
        ("studies:hang", "one of post_study, get_status"),
        ("get /v3/studies:hang", "no path"),
        ("**:hang:1.5", "probability is 1.5: it must be from 0 to 1"),
        ("**:hang:often", "probability: .* valid number"),
        ("**:hang:every=0", "every is 0: it must be 1 or more"),
        ("**:hang:count=-1", "count is -1: it must be 1 or more"),
        ("**:status:status=99", "status is 99: it must be from 200 to 599"),
        ("**:status:retry_after=0", "retry_after is 0"),
        ("**:truncate:at=2", "at is 2.0: it must be from 0 to 1"),
        ("**:delay:seconds=-1", "seconds is -1.0"),
        ("**:reset_in_body:of=both", "'request' or 'answer'"),
        ("**:hang:colour=red", "colour: "),
        ("**:hang:seconds=3", "hang has no seconds"),
        ("**:delay:status=500", "delay has no status"),
        ("**:truncate:of=answer", "truncate has no of"),
        ("**:garbage:content_type=a/b", "garbage has no content_type"),
    ],
)
def test_a_text_that_is_no_fault_is_refused_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        parse_fault(text)
    assert str(raised.value).startswith("fault: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("values", [None, 3, [], ["**:hang"], {}, {"kind": "hang", "when": "now"}])
def test_what_is_no_fault_at_all_is_refused_in_one_line(values: Any) -> None:
    with pytest.raises(ValueError, match="fault: ") as raised:
        fault_from(values)
    assert "\n" not in str(raised.value)


def test_a_fault_is_read_from_an_object() -> None:
    values = {"kind": "truncate", "route": "get_study", "every": 2, "at": 0.25}
    assert fault_from(values) == Fault(kind="truncate", route="get_study", every=2, at=0.25)


def test_a_fault_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 'broken' is not one of status, early_status"):
        Fault(kind="broken")  # type: ignore[arg-type]  # on purpose


@given(st.sampled_from(ROUTE_NAMES), st.sampled_from(ROUTE_NAMES))
def test_a_route_by_its_name_is_that_one(named: str, asked: str) -> None:
    fault = Fault(kind="hang", route=named)
    assert fault.matches("GET", "/any", asked) == (named == asked)


SEGMENT = st.text("abc.*+()123", min_size=1).filter(lambda text: "*" not in text)


@given(st.lists(SEGMENT, min_size=1), st.data())
def test_a_star_stands_for_a_segment_and_two_for_any(segments: list[str], data: Any) -> None:
    path = "/" + "/".join(segments)
    number = data.draw(st.integers(0, len(segments) - 1))
    starred = "/" + "/".join([*segments[:number], "*", *segments[number + 1 :]])
    for route in (
        path,
        starred,
        "/**",
        "**",
        f"PUT {starred}",
        "/".join(["", *"*" * len(segments)]),
    ):
        assert Fault(kind="hang", route=route).matches("PUT", path, "")
    for route in (path + "/", "/*/" + path[1:], f"GET {starred}", starred + "/*", path[:-1]):
        assert not Fault(kind="hang", route=route).matches("PUT", path, "")
