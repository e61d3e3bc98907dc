"""Connections and slots: given back after whatever ended a request, never waited for in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from milvue_async import MilvueError
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.support import STUDY_UID, Scene

if TYPE_CHECKING:
    from tests.faults.scripts import Script

_STATUS = named("status").target
_BODY = b'{"message": "No"}'
_ENDINGS: dict[str, Script] = {
    "405": scripts.answer(405, _BODY),
    "long 405": scripts.answer(405, b" " * (1 << 20)),
    "503": scripts.answer(503, _BODY),
    "redirect": scripts.redirect(302, "https://example.invalid/"),
    "reply cut": scripts.cut(_BODY, 5),
    "reply lost": scripts.lose_reply,
    "reset": scripts.reset_at_once,
    "garbage": scripts.garbage,
    "oversized headers": scripts.oversized_headers,
    "unknown encoding": scripts.answer(200, _BODY, headers={"Content-Encoding": "br"}),
    "stalled": scripts.stall_in_reply(_BODY, 5),
}
_ONE = {"max_connections": 1, "max_uploads": 1, "max_downloads": 1, "retry_attempts": 1}


@pytest.mark.parametrize("end", [*_ENDINGS, "too long"])
@pytest.mark.parametrize("name", ["store", "put", "download", "status"])
async def test_whatever_ends_a_request_gives_its_only_connection_back(
    scene: Scene, name: str, end: str
) -> None:
    # What storage answers to a PUT is not looked at, so there it may be longer.
    body = bytes((1 << 24) + 1) if (name, end) == ("put", "too long") else bytes(1 << 20)
    route, ending = named(name), _ENDINGS.get(end, scripts.answer(200, body))
    scene.api.on(route.target, ending, ending, scripts.answer(200, scene.body(name)))
    if name == "download":
        scene.serve()
        scene.api.on(route.target, ending, ending, scripts.multipart(scene.body(name)))
    idle = 0.5 if end == "stalled" else 60.0
    limits = {"idle_timeout": idle, "max_json_bytes": 1 << 16, "max_result_bytes": 1 << 16}
    async with scene.client(**_ONE, **limits) as client:
        with anyio.fail_after(20):
            for _ in range(2):
                with pytest.raises(MilvueError):
                    await route.call(client, scene)
            await route.call(client, scene)


async def test_requests_beyond_the_limit_wait_without_being_given_up(scene: Scene) -> None:
    open_now = most = 0

    async def slow(exchange: scripts.Exchange) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await exchange.pause(0.1)
        open_now -= 1
        await scripts.answer(200, scene.body("status"))(exchange)

    scene.api.on(_STATUS, slow)
    # The last waits for 0.9 s, longer than it may be idle.
    limits = {"max_connections": 2, "idle_timeout": 0.6, "retry_attempts": 1}
    async with scene.client(**limits) as client, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.get_status, STUDY_UID)
    assert most == 2


async def test_a_connection_is_used_again(scene: Scene) -> None:
    scene.api.on(_STATUS, scripts.answer(404, _BODY), scripts.answer(200, scene.body("status")))
    async with scene.client() as client:
        with pytest.raises(MilvueError):
            await client.get_status(STUDY_UID)
        for _ in range(3):
            await client.get_status(STUDY_UID)
        await client.post_interesting(STUDY_UID)
    assert scene.api.connections == 1


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_connection_that_the_server_had_closed_by_then_is_no_failure(
    scene: Scene, route: Route
) -> None:
    scene.api.on(
        route.target,
        scripts.reset_at_once,
        scripts.answer(200, scene.body(route.name), route.content_type),
    )
    if route.submits:
        unknown = scripts.reply_json({"message": "Study not found"}, 404)
        scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", unknown)
    async with scene.client() as client:
        first = client.post_interesting if route.name == "smartxpert" else client.get_smartxpert
        await first(STUDY_UID)
        await route.call(client, scene)
    stale, fresh = scene.api.received(route.target)
    assert stale.connection == 1
    assert fresh.connection == 2
    assert len(fresh.body) == fresh.length
