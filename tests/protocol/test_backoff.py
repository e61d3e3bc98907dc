"""Schedules of retries and polls: bounded, growing, and never past their deadline."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.protocol.backoff import (
    PollSchedule,
    RetryBudget,
    RetrySchedule,
    parse_http_date,
    parse_retry_after,
)

ATTEMPTS = st.integers(1, 10_000)
CHANCE = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0, 1e6)
POSITIVE = st.floats(1e-3, 1e4)
RETRIES = st.builds(
    RetrySchedule, attempts=st.integers(1, 50), timeout=SECONDS, base=POSITIVE, cap=POSITIVE
)
POLLS = st.builds(
    PollSchedule,
    interval=POSITIVE,
    cap=POSITIVE,
    growth=st.floats(1, 3),
    jitter=st.floats(0, 1, exclude_max=True),
    timeout=SECONDS,
)
NOW = datetime(2026, 1, 31, 23, 59, 30, tzinfo=UTC)


@given(RETRIES, ATTEMPTS, SECONDS, CHANCE)
def test_a_retry_waits_between_nothing_and_the_cap(
    schedule: RetrySchedule, attempt: int, elapsed: float, chance: float
) -> None:
    delay = schedule.delay(attempt, elapsed=elapsed, random=chance)
    if delay is not None:
        assert 0 <= delay <= schedule.cap


@given(RETRIES, ATTEMPTS, SECONDS, CHANCE, st.none() | SECONDS)
def test_no_retry_starts_after_the_last_try_or_the_time(
    schedule: RetrySchedule, attempt: int, elapsed: float, chance: float, asked: float | None
) -> None:
    delay = schedule.delay(attempt, elapsed=elapsed, random=chance, retry_after=asked)
    if delay is not None:
        assert attempt < schedule.attempts
        assert elapsed + delay <= schedule.timeout


@given(st.integers(1, 40), CHANCE)
def test_the_bound_of_a_retry_doubles_until_the_cap(attempt: int, chance: float) -> None:
    schedule = RetrySchedule(attempts=100, timeout=math.inf, base=0.5, cap=20)
    this = schedule.delay(attempt, elapsed=0, random=chance)
    following = schedule.delay(attempt + 1, elapsed=0, random=chance)
    assert this is not None
    assert following is not None
    assert following == pytest.approx(min(2 * this, 20 * chance))


@given(st.floats(0, 100), CHANCE)
def test_a_retry_waits_at_least_as_long_as_the_server_asks(asked: float, chance: float) -> None:
    schedule = RetrySchedule(timeout=1000)
    delay = schedule.delay(1, elapsed=0, random=chance, retry_after=asked)
    assert delay is not None
    assert asked <= delay <= asked + schedule.base


def test_those_who_were_refused_at_once_do_not_come_back_at_once() -> None:
    schedule = RetrySchedule()
    delays = {schedule.delay(1, elapsed=0, random=n / 10, retry_after=5) for n in range(10)}
    assert len(delays) == 10


def test_a_server_that_asks_for_more_time_than_there_is_gets_no_retry() -> None:
    assert RetrySchedule(timeout=60).delay(1, elapsed=0, random=0, retry_after=61) is None


@given(POLLS, ATTEMPTS, SECONDS, CHANCE)
def test_a_poll_waits_no_longer_than_the_cap_and_never_past_the_deadline(
    schedule: PollSchedule, attempt: int, elapsed: float, chance: float
) -> None:
    delay = schedule.delay(attempt, elapsed=elapsed, random=chance)
    if elapsed >= schedule.timeout:
        assert delay is None
    else:
        assert delay is not None
        assert 0 < delay <= schedule.cap
        assert delay <= schedule.timeout - elapsed


@given(POLLS, ATTEMPTS, CHANCE, CHANCE)
def test_chance_takes_off_no_more_of_a_poll_than_its_share(
    schedule: PollSchedule, attempt: int, one: float, other: float
) -> None:
    endless = PollSchedule(
        interval=schedule.interval,
        cap=schedule.cap,
        growth=schedule.growth,
        jitter=schedule.jitter,
        timeout=math.inf,
    )
    full = endless.delay(attempt, elapsed=0, random=0)
    for chance in (one, other):
        delay = endless.delay(attempt, elapsed=0, random=chance)
        assert full is not None
        assert delay is not None
        assert full * (1 - schedule.jitter) <= delay * (1 + 1e-9)
        assert delay <= full


@given(POLLS, st.integers(1, 200))
def test_polls_become_rarer_until_the_cap(schedule: PollSchedule, attempt: int) -> None:
    first = schedule.delay(attempt, elapsed=0, random=0)
    second = schedule.delay(attempt + 1, elapsed=0, random=0)
    if first is not None and second is not None:
        assert second >= first


@given(POSITIVE, st.lists(CHANCE, min_size=1, max_size=50))
def test_the_last_poll_is_at_the_deadline_itself(timeout: float, chances: list[float]) -> None:
    schedule = PollSchedule(interval=timeout / 3, cap=timeout, timeout=timeout)
    elapsed, attempt = 0.0, 1
    while elapsed < timeout:
        delay = schedule.delay(attempt, elapsed=elapsed, random=chances[attempt % len(chances)])
        assert delay is not None
        elapsed, attempt = elapsed + delay, attempt + 1
    assert elapsed == pytest.approx(timeout)
    assert schedule.delay(attempt, elapsed=elapsed, random=0) is None


@given(
    st.integers(0, 100),
    st.integers(1, 10),
    st.lists(st.sampled_from(["retry", "timed out", "success"]), max_size=200),
)
def test_the_budget_stays_between_nothing_and_its_capacity(
    capacity: int, cost: int, events: list[str]
) -> None:
    budget = RetryBudget(capacity=capacity, cost=cost, timeout_cost=2 * cost)
    for event in events:
        before = budget.left
        if event == "success":
            budget.refund()
            assert budget.left == min(capacity, before + 1)
        else:
            price = 2 * cost if event == "timed out" else cost
            assert budget.take(timed_out=event == "timed out") is (price <= before)
            assert budget.left == (before - price if price <= before else before)
        assert 0 <= budget.left <= capacity


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 40, 999_999_999),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Sat, 31 Jan 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.integers(-(10**6), 10**6))
def test_retry_after_is_read_as_a_date_by_the_servers_own_clock(seconds: int) -> None:
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(header, now=NOW) == max(0, seconds)
    assert parse_retry_after(header) is None


@given(st.text() | st.text("0123456789:, +-JanFebSunGMT", max_size=40))
def test_no_header_makes_the_reader_of_dates_or_waits_fail(value: str) -> None:
    when = parse_http_date(value)
    assert when is None or when.tzinfo is UTC
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


def test_a_date_of_another_time_zone_is_brought_to_utc() -> None:
    assert parse_http_date("Sun, 01 Feb 2026 00:59:30 +0100") == NOW
