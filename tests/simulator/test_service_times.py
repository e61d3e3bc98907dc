"""How long inference takes, as options write it and as it is drawn."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.simulator import (
    Constant,
    Exponential,
    SimulatorConfig,
    Uniform,
    parse_service_time,
)

DRAWN = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", Constant(2)),
        ("0", Constant(0)),
        (" 2.5 ", Constant(2.5)),
        ("1.5..4.5", Uniform(1.5, 4.5)),
        ("3..3", Uniform(3, 3)),
        ("exp:3", Exponential(3)),
        ("exp:0.25", Exponential(0.25)),
    ],
)
def test_a_service_time_is_read_from_its_text(
    text: str, expected: Constant | Uniform | Exponential
) -> None:
    assert parse_service_time(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1..", "..2", "exp", "exp:", "2s", "1,5", "nan", "inf"])
def test_a_text_that_is_no_service_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="is not seconds such as 2, "):
        parse_service_time(text)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_seconds_that_cannot_pass_are_refused(seconds: float) -> None:
    for kind in (Constant, Exponential):
        with pytest.raises(ValueError, match="is not seconds from 0 up"):
            kind(seconds)
    with pytest.raises(ValueError, match="is not seconds from 0 up"):
        SimulatorConfig(inference_seconds=seconds)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4.5\.\.1.5 is not seconds from 0 up"):
        parse_service_time("4.5..1.5")


@given(SECONDS, SECONDS, DRAWN)
def test_a_uniform_time_is_within_its_bounds(one: float, other: float, drawn: float) -> None:
    low, high = sorted((one, other))
    assert low <= Uniform(low, high).seconds(drawn) <= math.nextafter(high, math.inf)


@given(SECONDS, DRAWN)
def test_an_exponential_time_is_never_negative_nor_without_end(mean: float, drawn: float) -> None:
    assert 0 <= Exponential(mean).seconds(drawn) < math.inf


def test_times_have_their_mean() -> None:
    drawn = [(number + 0.5) / 10_000 for number in range(10_000)]
    assert fmean(map(Constant(3).seconds, drawn)) == 3
    assert fmean(map(Uniform(1, 5).seconds, drawn)) == pytest.approx(3)
    assert fmean(map(Exponential(3).seconds, drawn)) == pytest.approx(3, rel=0.001)
