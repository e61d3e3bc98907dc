"""A study that may have arrived is not paid for twice: its status is asked for first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from milvue_async import (
    APIError,
    AuthenticationError,
    MilvueError,
    ProtocolError,
    QuotaExceededError,
    ServerError,
    TransportError,
)
from milvue_async.protocol.requests import store_request
from milvue_async.settings import Settings
from milvue_async.sources import PieceBody
from milvue_async.transport import Transport
from tests.faults import scripts
from tests.faults.routes import named
from tests.faults.server import FaultServer
from tests.faults.support import ATTEMPTS, KEY, STUDY_UID, Scene, assert_reveals_nothing, status

if TYPE_CHECKING:
    from tests.faults.scripts import Script

_STORE = "POST /v3/studies"
_STATUS = named("status").target
_UNKNOWN = scripts.reply_json({"message": "Study not found"}, 404)
_BUSY = {"message": "Busy"}
_IN_DOUBT = {
    "reply lost": scripts.lose_reply,
    "reset": scripts.reset_at_once,
    "reply cut": scripts.cut(b'{"StudyInstanceUID": ""}', 5),
    "timed out": scripts.stall_reply,
    "500": scripts.reply_json(_BUSY, 500),
    "502": scripts.reply_json(_BUSY, 502),
    "503": scripts.reply_json(_BUSY, 503),
    "504": scripts.reply_json(_BUSY, 504),
    "408": scripts.reply_json(_BUSY, 408),
}


def _idle(fault: Script) -> float:
    """Seconds: short only where nothing comes, so that a busy machine is not taken for that."""
    return 0.5 if fault is scripts.stall_reply else 60.0


def _order(scene: Scene) -> list[str]:
    return [request.method for request in scene.api.requests]


@pytest.mark.parametrize("fault", _IN_DOUBT.values(), ids=_IN_DOUBT)
async def test_a_study_that_did_not_arrive_is_sent_again_exactly_once(
    scene: Scene, fault: Script
) -> None:
    scene.api.on(_STORE, fault, scripts.answer(200, scene.body("store")))
    scene.api.on(_STATUS, _UNKNOWN)
    async with scene.client(idle_timeout=_idle(fault)) as client:
        answer = await client.post_study(scene.files)
    assert answer.message == "received"
    assert _order(scene) == ["POST", "GET", "POST"]
    first, last = scene.api.received(_STORE)
    assert last.body.startswith(first.body)


@pytest.mark.parametrize("fault", _IN_DOUBT.values(), ids=_IN_DOUBT)
async def test_a_study_that_did_arrive_is_not_sent_again(scene: Scene, fault: Script) -> None:
    scene.api.on(_STORE, fault)
    scene.api.on(_STATUS, scripts.reply_json(status(value="running")))
    async with scene.client(idle_timeout=_idle(fault)) as client:
        answer = await client.post_study(scene.files)
    assert answer.StudyInstanceUID == STUDY_UID
    assert _order(scene) == ["POST", "GET"]


@pytest.mark.parametrize("value", ["done", "error", "resting"])
async def test_a_study_that_arrived_and_went_on_is_not_sent_again(scene: Scene, value: str) -> None:
    scene.api.on(_STORE, scripts.lose_reply)
    scene.api.on(_STATUS, scripts.reply_json(status(value=value)))
    async with scene.client() as client:
        await client.post_study(scene.files)
    assert _order(scene) == ["POST", "GET"]


async def test_a_study_that_was_refused_is_sent_again_without_a_question(scene: Scene) -> None:
    scene.api.on(_STORE, scripts.reply_json(_BUSY, 429), scripts.answer(200, scene.body("store")))
    async with scene.client() as client:
        await client.post_study(scene.files)
    assert _order(scene) == ["POST", "POST"]


async def test_where_nobody_listened_the_study_is_sent_again_without_a_question(
    scene: Scene,
) -> None:
    async with FaultServer() as gone:
        url = gone.url
    async with scene.client(api_url=url) as client:
        with pytest.raises(TransportError) as caught:
            await client.post_study(scene.files)
    assert not caught.value.in_doubt
    # Had it asked for the status, that would have failed too, and that error would be raised.
    assert caught.value.route == "POST /v3/studies"
    assert len(scene.clock.sleeps) == ATTEMPTS - 1


@pytest.mark.parametrize("fault", _IN_DOUBT.values(), ids=_IN_DOUBT)
async def test_the_last_failure_says_that_the_study_may_have_arrived(
    scene: Scene, fault: Script
) -> None:
    scene.api.on(_STORE, fault)
    scene.api.on(_STATUS, _UNKNOWN)
    async with scene.client(idle_timeout=_idle(fault), retry_attempts=2) as client:
        with pytest.raises(MilvueError) as caught:
            await client.post_study(scene.files)
    assert caught.value.in_doubt
    assert _order(scene) == ["POST", "GET", "POST"]
    assert_reveals_nothing(caught.value)


async def test_a_question_that_fails_is_asked_again_before_anything_is_sent(
    scene: Scene,
) -> None:
    scene.api.on(_STORE, scripts.lose_reply, scripts.answer(200, scene.body("store")))
    scene.api.on(_STATUS, scripts.reply_json(_BUSY, 503), scripts.lose_reply, _UNKNOWN)
    async with scene.client(retry_attempts=6) as client:
        await client.post_study(scene.files)
    assert _order(scene) == ["POST", "GET", "GET", "GET", "POST"]


async def test_while_the_question_fails_the_study_stays_in_doubt(scene: Scene) -> None:
    scene.api.on(_STORE, scripts.lose_reply)
    scene.api.on(_STATUS, scripts.reply_json(_BUSY, 503))
    async with scene.client() as client:
        with pytest.raises(ServerError) as caught:
            await client.post_study(scene.files)
    assert caught.value.in_doubt
    assert _order(scene) == ["POST", "GET", "GET"]


async def test_a_question_that_is_refused_leaves_the_study_in_doubt(scene: Scene) -> None:
    scene.api.on(_STORE, scripts.lose_reply)
    scene.api.on(_STATUS, scripts.reply_json(_BUSY, 403))
    async with scene.client() as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.post_study(scene.files)
    assert caught.value.in_doubt
    assert _order(scene) == ["POST", "GET"]


@pytest.mark.parametrize(
    "answer",
    [scripts.reply_json(status("1.2.3")), scripts.captive_portal, scripts.answer(200, b"{}")],
    ids=["another study", "captive portal", "other schema"],
)
async def test_an_answer_that_does_not_speak_of_the_study_does_not_end_the_doubt(
    scene: Scene, answer: Script
) -> None:
    scene.api.on(_STORE, scripts.lose_reply)
    scene.api.on(_STATUS, answer)
    async with scene.client() as client:
        with pytest.raises(ProtocolError) as caught:
            await client.post_study(scene.files)
    assert caught.value.in_doubt
    assert _order(scene) == ["POST", "GET"]


async def test_a_refusal_after_the_doubt_was_cleared_is_certain(scene: Scene) -> None:
    scene.api.on(_STORE, scripts.lose_reply, scripts.reply_json(_BUSY, 400))
    scene.api.on(_STATUS, _UNKNOWN)
    async with scene.client() as client:
        with pytest.raises(APIError) as caught:
            await client.post_study(scene.files)
    assert caught.value.status == 400
    assert not caught.value.in_doubt


async def test_a_doubt_that_was_cleared_does_not_come_back(scene: Scene) -> None:
    busy = scripts.reply_json(_BUSY, 429)
    scene.api.on(_STORE, scripts.lose_reply, busy)
    scene.api.on(_STATUS, _UNKNOWN)
    async with scene.client() as client:
        with pytest.raises(QuotaExceededError) as caught:
            await client.post_study(scene.files)
    assert not caught.value.in_doubt
    assert _order(scene) == ["POST", "GET", "POST", "POST"]


async def test_where_nobody_can_be_asked_the_doubt_stays_whatever_comes_next(
    scene: Scene,
) -> None:
    scene.api.on(_STORE, scripts.lose_reply, scripts.reply_json(_BUSY, 429))
    settings = Settings(api_url=scene.api.url, token=SecretStr(KEY), retry_attempts=ATTEMPTS)
    request = store_request(STUDY_UID, "multipart/related; boundary=frontier")
    async with Transport(settings, clock=scene.clock) as transport:
        with pytest.raises(QuotaExceededError) as caught:
            await transport.fetch(request, body=PieceBody((scripts.parts(scene.content),)))
    assert caught.value.in_doubt
    assert _order(scene) == ["POST"] * ATTEMPTS


@pytest.mark.parametrize(
    "answer",
    [
        scripts.answer(200, b"{"),
        scripts.answer(200, b"{}"),
        scripts.answer(200, b" " * (1 << 25)),
        scripts.answer(200, b"{}", headers={"Content-Encoding": "br"}),
        scripts.garbage,
    ],
    ids=["cut", "other schema", "too long", "unknown encoding", "garbage"],
)
async def test_an_acceptance_that_cannot_be_read_leaves_the_study_in_doubt(
    scene: Scene, answer: Script
) -> None:
    scene.api.on(_STORE, answer)
    async with scene.client() as client:
        with pytest.raises(MilvueError) as caught:
            await client.post_study(scene.files)
    assert caught.value.in_doubt
    assert _order(scene) == ["POST"]


async def test_announcing_a_study_without_its_pixels_asks_nothing_and_doubts_nothing(
    scene: Scene,
) -> None:
    scene.api.on(_STORE, scripts.lose_reply)
    async with scene.client() as client:
        with pytest.raises(TransportError) as caught:
            await client.post_study(scene.files, transfer="signed_url")
    assert not caught.value.in_doubt
    assert _order(scene) == ["POST"] * ATTEMPTS
