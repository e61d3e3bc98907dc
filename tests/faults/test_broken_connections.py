"""Connections that break, stall and redirect, on each route."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from milvue_async import MilvueError, ProtocolError, RequestTimeoutError, TransportError
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.server import FaultServer
from tests.faults.support import ATTEMPTS, STUDY_UID, Scene, assert_reveals_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

_IDLE = {"idle_timeout": 0.2, "retry_attempts": 1}
# Where a request that is answered comes first: a busy machine must not be taken for a silent one.
_PATIENT = {"idle_timeout": 0.6, "retry_attempts": 1}


@dataclass(frozen=True)
class Fault:
    """One way to fail, and what the client must make of it.

    Attributes:
        name: The test's name for it.
        script: What the server does, given a good answer's body and Content-Type.
        error: What is raised.
        status: Of the error.
        tries: How often the request comes.
        is_doubtful: Whether the server may have taken a study all the same.
        options: Settings of the client.
    """

    name: str
    script: Callable[[bytes, str], scripts.Script]
    error: type[MilvueError]
    status: int | None = None
    tries: int = ATTEMPTS
    is_doubtful: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


_FAULTS = (
    Fault("reset at once", lambda *_: scripts.reset_at_once, TransportError),
    Fault("reply lost", lambda *_: scripts.lose_reply, TransportError),
    Fault(
        "reply cut",
        lambda body, kind: scripts.cut(body, len(body) // 2, kind),
        TransportError,
        status=200,
    ),
    Fault(
        "reply cut before its body",
        lambda body, kind: scripts.cut(body, 0, kind),
        TransportError,
        status=200,
    ),
    Fault(
        "reply reset",
        lambda body, kind: scripts.reset_in_reply(body, len(body) // 2, kind),
        TransportError,
        status=200,
    ),
    Fault("garbage", lambda *_: scripts.garbage, ProtocolError, tries=1),
    Fault("oversized headers", lambda *_: scripts.oversized_headers, ProtocolError, tries=1),
    Fault(
        "reply stalled",
        lambda *_: scripts.stall_reply,
        RequestTimeoutError,
        options=_IDLE,
        tries=1,
    ),
    Fault(
        "stalled in the reply",
        lambda body, kind: scripts.stall_in_reply(body, len(body) // 2, kind),
        RequestTimeoutError,
        options=_IDLE,
        tries=1,
    ),
    Fault(
        "dripped reply",
        scripts.drip,
        RequestTimeoutError,
        options=_IDLE,
        tries=1,
    ),
)


@pytest.mark.parametrize("fault", _FAULTS, ids=str)
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_broken_connection_is_a_typed_error_that_leaves_nothing_behind(
    scene: Scene, route: Route, fault: Fault
) -> None:
    scene.api.on(route.target, fault.script(scene.body(route.name), route.content_type))
    if route.submits:
        unknown = scripts.reply_json({"message": "Study not found"}, 404)
        scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", unknown)
    options = _PATIENT if fault.options and route.is_signed else fault.options
    async with scene.client(**options) as client:
        with pytest.raises(fault.error) as caught:
            await route.call(client, scene)
    error = caught.value
    assert (error.route, error.study_instance_uid) == (route.route, STUDY_UID)
    assert error.status in {fault.status, None}
    assert error.in_doubt == (route.submits and fault.is_doubtful)
    assert len(scene.api.received(route.target)) == fault.tries
    assert len(scene.clock.sleeps) == fault.tries - 1
    assert list(scene.folder.iterdir()) == []
    assert_reveals_nothing(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else(
    scene: Scene, route: Route, status: int
) -> None:
    scene.api.on(route.target, scripts.redirect(status, f"{scene.elsewhere.url}/v3/studies"))
    async with scene.client() as client:
        with pytest.raises(ProtocolError, match="redirect") as caught:
            await route.call(client, scene)
    error = caught.value
    assert (error.route, error.study_instance_uid) == (route.route, STUDY_UID)
    assert error.status == status
    assert not error.in_doubt
    assert len(scene.api.received(route.target)) == 1
    assert scene.elsewhere.requests == []
    assert_reveals_nothing(error)


@pytest.mark.parametrize("name", ["store", "put", "results", "smartxpert"])
async def test_a_stalled_answer_is_asked_for_again(scene: Scene, name: str) -> None:
    route = named(name)
    good = scripts.answer(200, scene.body(route.name), route.content_type)
    scene.api.on(route.target, scripts.stall_reply, good)
    if route.submits:
        unknown = scripts.reply_json({"message": "Study not found"}, 404)
        scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", unknown)
    async with scene.client(idle_timeout=0.6) as client:
        await route.call(client, scene)
    assert len(scene.api.received(route.target)) == 2


@pytest.mark.parametrize("name", ["status", "results", "signed download"])
@pytest.mark.parametrize(
    ("pause", "error"),
    [(0.0, ProtocolError), (0.05, RequestTimeoutError)],
    ids=["at once", "later"],
)
async def test_chunks_that_are_none_end_the_request_and_leave_nothing_behind(
    scene: Scene, name: str, pause: float, error: type[MilvueError]
) -> None:
    route = named(name)
    body = scene.body(name)[:100]
    scene.api.on(route.target, scripts.break_chunking(body, route.content_type, pause=pause))
    async with scene.client(**_PATIENT) as client:
        with pytest.raises(error) as caught:
            await route.call(client, scene)
    assert caught.value.route == route.route
    assert list(scene.folder.iterdir()) == []
    assert_reveals_nothing(caught.value)


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.is_signed], ids=str)
async def test_where_nobody_listens_the_error_says_so_and_nothing_is_in_doubt(
    scene: Scene, route: Route
) -> None:
    async with FaultServer() as gone:
        url = gone.url
    async with scene.client(api_url=url) as client:
        with pytest.raises(TransportError, match=r"could not connect to 127\.0\.0\.1") as caught:
            await route.call(client, scene)
    assert "refused" in caught.value.message
    assert (caught.value.route, caught.value.status) == (route.route, None)
    assert not caught.value.in_doubt
    assert len(scene.clock.sleeps) == ATTEMPTS - 1
    assert_reveals_nothing(caught.value)


async def test_a_json_route_has_a_deadline_that_steady_progress_does_not_move(
    scene: Scene,
) -> None:
    body = b" " * 4096

    async def steady(exchange: scripts.Exchange) -> None:
        head = scripts.message(200, b"", None)
        await exchange.send(head.replace(b"Content-Length: 0", b"Content-Length: 99999999"))
        while await exchange.pause(0.02):
            await exchange.send(body)
        await exchange.stall()

    scene.api.on(named("status").target, steady)
    limits = {"request_timeout": 0.5, "idle_timeout": 30.0, "retry_attempts": 1}
    async with scene.client(**limits) as client:
        with pytest.raises(RequestTimeoutError):
            await client.get_status(STUDY_UID)


async def test_a_result_may_take_as_long_as_its_bytes_flow(scene: Scene) -> None:
    # What follows the closing boundary is dropped.
    body = scripts.parts(scene.content) + b" " * 8192

    async def slow(exchange: scripts.Exchange) -> None:
        whole = scripts.message(200, body, named("results").content_type)
        for at in range(0, len(whole), 2048):
            await exchange.send(whole[at : at + 2048])
            await exchange.pause(0.15)

    scene.api.on(named("results").target, slow)
    limits = {"request_timeout": 0.2, "idle_timeout": 0.8, "retry_attempts": 1}
    async with scene.client(**limits) as client:
        (dataset,) = await client.get_results(STUDY_UID, "smarturgences")
    assert dataset.StudyInstanceUID == STUDY_UID
