"""When a request is tried again, after how long, and when no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from milvue_async import MilvueError, QuotaExceededError, RequestTimeoutError, ServerError
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.support import STUDY_UID, Scene

if TYPE_CHECKING:
    from milvue_async import MilvueClient

_BUSY = {"message": "Busy"}
_STATUS = named("status").target
_DATE = "Wed, 01 Jan 2025 10:00:00 GMT"
_LATER = "Wed, 01 Jan 2025 10:00:12 GMT"
# What chance adds to a Retry-After: a tenth of half of the first delay's bound of 0.5 s.
_SPREAD = 0.1 * 0.5 * 0.5


def _busy(status: int = 503, **headers: str) -> scripts.Script:
    named_so = {name.replace("_", "-"): value for name, value in headers.items()}
    return scripts.reply_json(_BUSY, status, named_so)


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_delays_double_up_to_a_cap_and_then_it_is_given_up(
    scene: Scene, route: Route
) -> None:
    scene.api.on(route.target, _busy())
    if route.submits:
        scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", scripts.reply_json(_BUSY, 404))
    async with scene.client(retry_attempts=6, retry_base=0.5, retry_cap=3.0) as client:
        with pytest.raises(ServerError):
            await route.call(client, scene)
    assert scene.clock.sleeps == [0.25, 0.5, 1.0, 1.5, 1.5]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": _LATER, "Date": _DATE}, 12),
        ({"Retry_After": _DATE, "Date": _LATER}, 0),
    ],
    ids=["seconds", "none", "date", "past date"],
)
async def test_a_wait_that_the_server_asks_for_is_kept(
    scene: Scene, status: int, headers: dict[str, str], seconds: float
) -> None:
    scene.api.on(_STATUS, _busy(status, **headers), scripts.answer(200, scene.body("status")))
    async with scene.client() as client:
        await client.get_status(STUDY_UID)
    assert scene.clock.sleeps == [pytest.approx(seconds + _SPREAD)]


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "٣", _LATER])
async def test_a_wait_that_cannot_be_read_is_as_none(scene: Scene, value: str) -> None:
    good = scripts.answer(200, scene.body("status"))
    scene.api.on(_STATUS, _busy(429, Retry_After=value), good)
    async with scene.client() as client:
        await client.get_status(STUDY_UID)
    assert scene.clock.sleeps == [0.25]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_beyond_the_time_for_retries_ends_it_at_once(
    scene: Scene, status: int
) -> None:
    scene.api.on(_STATUS, _busy(status, Retry_After="3600"))
    async with scene.client(retry_timeout=300) as client:
        with pytest.raises((QuotaExceededError, ServerError)) as caught:
            await client.get_status(STUDY_UID)
    assert getattr(caught.value, "retry_after", None) == 3600
    assert scene.clock.sleeps == []
    assert len(scene.api.requests) == 1


async def test_the_time_for_retries_bounds_them_whatever_the_attempts(scene: Scene) -> None:
    scene.api.on(_STATUS, _busy(429, Retry_After="100"))
    async with scene.client(retry_attempts=1000, retry_timeout=350) as client:
        with pytest.raises(QuotaExceededError):
            await client.get_status(STUDY_UID)
    assert len(scene.api.requests) == 4
    assert sum(scene.clock.sleeps) <= 350


async def test_waiting_for_a_slot_takes_nothing_from_the_time_for_retries(scene: Scene) -> None:
    async def slow(exchange: scripts.Exchange) -> None:
        await exchange.receive()
        scene.clock.now += 400.0
        await scripts.answer(200, scene.body("store"))(exchange)

    good = scripts.answer(200, scene.body("store"))
    scene.api.on("POST /v3/studies", slow, _busy(429), good)
    async with scene.client(max_uploads=1) as client, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(client.post_study, scene.files)
    assert len(scene.api.requests) == 3


async def _fail(client: MilvueClient, error: type[MilvueError]) -> None:
    with pytest.raises(error):
        await client.get_status(STUDY_UID)


async def test_all_requests_of_a_client_share_one_bounded_number_of_retries(
    scene: Scene,
) -> None:
    scene.api.on(_STATUS, _busy())
    async with scene.client(retry_attempts=100) as client:
        async with anyio.create_task_group() as group:
            for _ in range(150):
                group.start_soon(_fail, client, ServerError)
        # 500 tokens, 5 for each retry.
        assert len(scene.api.requests) == 150 + 100
        await _fail(client, ServerError)
        assert len(scene.api.requests) == 150 + 100 + 1
        scene.api.on(_STATUS, scripts.answer(200, scene.body("status")))
        for _ in range(5):
            await client.get_status(STUDY_UID)
        scene.api.on(_STATUS, _busy())
        await _fail(client, ServerError)
    # Five answers that were had bought one retry.
    assert len(scene.api.requests) == 150 + 100 + 1 + 5 + 2


async def test_retries_after_time_outs_cost_double(scene: Scene) -> None:
    scene.api.on(_STATUS, scripts.stall_reply)
    options = {"retry_attempts": 100, "idle_timeout": 0.5, "max_connections": 200}
    async with scene.client(**options) as client, anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(_fail, client, RequestTimeoutError)
    assert len(scene.api.requests) == 40 + 50


async def test_a_failure_that_cannot_get_better_is_not_retried_after_one_that_can(
    scene: Scene,
) -> None:
    scene.api.on(_STATUS, _busy(), scripts.reply_json(_BUSY, 400))
    async with scene.client(retry_attempts=6) as client:
        with pytest.raises(MilvueError) as caught:
            await client.get_status(STUDY_UID)
    assert caught.value.status == 400
    assert len(scene.api.requests) == 2
