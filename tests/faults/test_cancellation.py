"""Cancelled at any point, by anyio or by asyncio: at once, for good, and with nothing left."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from milvue_async import RequestTimeoutError
from tests import dicom_files
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.support import STUDY_UID, FakeClock, Scene

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.faults.scripts import Script

_PROMPTLY = 2.0


@dataclass
class NeverClock(FakeClock):
    """A clock whose sleeps do not end by themselves."""

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await anyio.sleep_forever()


async def _by_scope(work: Callable[[], Awaitable[object]], begun: Callable[[], bool]) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await _until(begun)
                scope.cancel()

            group.start_soon(cancel)
            await work()
    assert scope.cancelled_caught


async def _by_task(work: Callable[[], Awaitable[object]], begun: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(work())
    await _until(begun)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def _by_timeout(work: Callable[[], Awaitable[object]], begun: Callable[[], bool]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(None) as timeout:
            watcher = asyncio.ensure_future(_until(begun))
            watcher.add_done_callback(lambda _: timeout.reschedule(0))
            await work()

    with pytest.raises(TimeoutError):
        await bounded()


async def _until(begun: Callable[[], bool]) -> None:
    while not begun():  # noqa: ASYNC110  what is waited for is seen by the server or the clock
        await asyncio.sleep(0.005)


_WAYS = {"anyio": _by_scope, "task.cancel": _by_task, "asyncio.timeout": _by_timeout}
_POINTS: dict[str, Callable[[Scene, Route], Script]] = {
    "before the answer": lambda *_: scripts.stall_reply,
    "in the answer": lambda scene, route: scripts.stall_in_reply(
        scene.body(route.name), len(scene.body(route.name)) // 2, route.content_type
    ),
    "in a refusal": lambda *_: scripts.stall_in_reply(b'{"message": ""}', 5, status=400),
}


async def _cancel(scene: Scene, route: Route, way: str) -> None:
    async with scene.client() as client:
        with anyio.fail_after(_PROMPTLY + 5):
            await _WAYS[way](lambda: route.call(client, scene), lambda: bool(scene.api.stalled))
    assert len(scene.api.received(route.target)) == 1
    assert scene.clock.sleeps == []
    assert list(scene.folder.iterdir()) == []


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("point", _POINTS.values(), ids=_POINTS)
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_request_that_is_cancelled_ends_at_once_and_is_not_retried(
    scene: Scene, route: Route, point: Callable[[Scene, Route], Script], way: str
) -> None:
    scene.api.on(route.target, point(scene, route))
    await _cancel(scene, route, way)


@pytest.mark.parametrize("way", _WAYS)
async def test_an_upload_that_is_cancelled_ends_at_once(
    scene: Scene, tmp_path: Path, way: str
) -> None:
    path = dicom_files.large_instance(tmp_path / "large.dcm", 16, study_instance_uid=STUDY_UID)
    scene.files = [path]
    scene.api.on("POST /v3/studies", scripts.stall_in_upload)
    await _cancel(scene, named("store"), way)


@pytest.mark.parametrize("way", _WAYS)
async def test_a_wait_before_the_next_try_can_be_cancelled(scene: Scene, way: str) -> None:
    scene.clock = NeverClock()
    scene.api.on(named("status").target, scripts.reply_json({"message": "Busy"}, 503))
    async with scene.client() as client:
        await _WAYS[way](lambda: client.get_status(STUDY_UID), lambda: bool(scene.clock.sleeps))
    assert len(scene.api.requests) == 1


@pytest.mark.parametrize("way", _WAYS)
async def test_a_wait_for_the_prediction_can_be_cancelled(scene: Scene, way: str) -> None:
    scene.clock = NeverClock()
    body = scene.body("status").replace(b"done", b"running")
    scene.api.on(named("status").target, scripts.answer(200, body))
    async with scene.client() as client:
        await _WAYS[way](lambda: client.wait_done(STUDY_UID), lambda: bool(scene.clock.sleeps))
    assert len(scene.api.requests) == 1


@pytest.mark.parametrize("way", _WAYS)
async def test_a_wait_for_a_slot_can_be_cancelled_and_takes_none(scene: Scene, way: str) -> None:
    scene.api.on("POST /v3/studies", scripts.stall_reply, scripts.answer(200, scene.body("store")))
    turns = 0

    def waited() -> bool:
        nonlocal turns
        turns += 1
        return turns > 20 and bool(scene.api.requests)

    async with scene.client(max_uploads=1) as client, anyio.create_task_group() as group:
        group.start_soon(client.post_study, scene.files)
        await _until(lambda: bool(scene.api.requests))
        await _WAYS[way](lambda: client.post_study(scene.files), waited)
        assert len(scene.api.requests) == 1
        group.cancel_scope.cancel()
    async with scene.client(max_uploads=1) as client:
        await client.post_study(scene.files)


async def test_a_cancel_is_never_lost_to_a_deadline_of_our_own(scene: Scene) -> None:
    scene.api.on(named("status").target, scripts.stall_reply)
    chance = random.Random(0)
    options = {"idle_timeout": 0.005, "retry_attempts": 10**6, "retry_timeout": 10.0**9}
    for _ in range(10):
        # A new client each time, since its budget allows 50 retries after a time-out.
        async with scene.client(**options) as client:
            for _ in range(15):
                task = asyncio.ensure_future(client.get_status(STUDY_UID))
                await asyncio.sleep(0.0045 + 0.001 * chance.random())
                task.cancel()
                await asyncio.wait({task}, timeout=_PROMPTLY)
                assert task.cancelled()


async def test_a_deadline_of_the_caller_is_not_mistaken_for_one_of_ours(scene: Scene) -> None:
    scene.api.on(named("status").target, scripts.stall_reply)
    async with scene.client(idle_timeout=30) as client:
        with pytest.raises(TimeoutError) as caught, anyio.fail_after(0.2):
            await client.get_status(STUDY_UID)
        assert not isinstance(caught.value, RequestTimeoutError)
        with anyio.move_on_after(0.2) as scope:
            await client.get_status(STUDY_UID)
        assert scope.cancelled_caught
