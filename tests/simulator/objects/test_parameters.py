"""What may be asked for."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.simulator.objects.parameters import (
    ParameterError,
    ResultParameters,
    parse_timezone,
)

SUMMER = datetime(2025, 7, 1)  # noqa: DTZ001  in the zone under test
NAMES = [each.name for each in fields(ResultParameters)]


def test_the_defaults_are_those_of_the_api() -> None:
    assert {name: getattr(ResultParameters(), name) for name in NAMES} == {
        "output_format": "overlay",
        "language": "en",
        "timezone": "UTC",
        "output_selection": "all",
        "recap_theme": "dark",
        "structured_report_format": "none",
        "static_report_format": "none",
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["nonsense", "OVERLAY", " all"])
def test_an_unknown_value_is_refused_by_the_name_of_its_parameter(name: str, value: str) -> None:
    with pytest.raises(ParameterError) as refusal:
        ResultParameters(**{name: value})
    assert refusal.value.parameter == name
    assert str(refusal.value) == f"{name}: {refusal.value.problem}"
    assert value not in refusal.value.problem.split(", ")


@pytest.mark.parametrize(
    ("value", "hours"),
    [
        ("", 0),
        ("UTC", 0),
        ("Z", 0),
        ("Etc/UTC", 0),
        ("Europe/Paris", 2),
        ("America/New_York", -4),
        ("Asia/Kolkata", 5.5),
        ("2", 2),
        ("+2", 2),
        (" 2", 2),
        ("-03", -3),
        ("+0530", 5.5),
        ("-3:30", -3.5),
        ("UTC+2", 2),
        ("GMT-1", -1),
        ("+14", 14),
        ("-12:00", -12),
    ],
)
def test_a_time_zone_is_an_iana_name_or_hours_from_utc(value: str, hours: float) -> None:
    assert parse_timezone(value).utcoffset(SUMMER) == timedelta(hours=hours)
    assert ResultParameters(timezone=value).zone.utcoffset(SUMMER) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "value",
    ["Mars/Olympus", "Europe", "/etc/passwd", "../UTC", "a\0b", "x" * 5000, "+15", "-13", "+2:60"],
)
def test_what_is_no_time_zone_is_refused(value: str) -> None:
    with pytest.raises(ParameterError, match="timezone: "):
        parse_timezone(value)


@given(st.text())
def test_any_text_is_a_time_zone_or_refused(value: str) -> None:
    try:
        zone = parse_timezone(value)
    except ParameterError:
        return
    offset = zone.utcoffset(SUMMER)
    assert offset is not None
    assert abs(offset) <= timedelta(hours=14)
