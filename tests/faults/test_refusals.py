"""A server that refuses: each status on each route, documented or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from milvue_async import (
    APIError,
    AuthenticationError,
    FormattingError,
    NotFoundError,
    QuotaExceededError,
    RequestValidationError,
    ServerError,
)
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.support import ATTEMPTS, KEY, SIGNATURE, STUDY_UID, assert_reveals_nothing

if TYPE_CHECKING:
    from tests.faults.support import Scene

_INVALID = {"detail": [{"loc": ["query", "language"], "msg": "not a language", "type": "enum"}]}


@dataclass(frozen=True)
class Refusal:
    status: int
    error: type[APIError]
    is_retried: bool = False
    # The server may have taken the study all the same.
    is_doubtful: bool = False

    def __str__(self) -> str:
        return str(self.status)


_REFUSALS = (
    Refusal(400, APIError),
    Refusal(401, AuthenticationError),
    Refusal(403, AuthenticationError),
    Refusal(404, NotFoundError),
    Refusal(408, APIError, is_retried=True, is_doubtful=True),
    Refusal(409, APIError),
    Refusal(410, APIError),
    Refusal(413, APIError),
    Refusal(422, RequestValidationError),
    Refusal(429, QuotaExceededError, is_retried=True),
    Refusal(500, ServerError, is_retried=True, is_doubtful=True),
    Refusal(501, ServerError),
    Refusal(502, ServerError, is_retried=True, is_doubtful=True),
    Refusal(503, ServerError, is_retried=True, is_doubtful=True),
    Refusal(504, ServerError, is_retried=True, is_doubtful=True),
)


@pytest.mark.parametrize("refusal", _REFUSALS, ids=str)
@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_refusal_is_its_own_error_and_retried_only_where_that_can_help(
    scene: Scene, route: Route, refusal: Refusal
) -> None:
    body = _INVALID if refusal.status == 422 else {"message": "Refused on purpose"}
    scene.api.on(route.target, scripts.reply_json(body, refusal.status))
    if route.submits:
        unknown = scripts.reply_json({"message": "Study not found"}, 404)
        scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", unknown)
    async with scene.client() as client:
        with pytest.raises(APIError) as caught:
            await route.call(client, scene)
    error = caught.value
    assert type(error) is refusal.error
    assert (error.route, error.study_instance_uid) == (route.route, STUDY_UID)
    assert error.status == refusal.status
    assert error.message.endswith(("Refused on purpose", "not a language"))
    assert error.in_doubt == (route.submits and refusal.is_doubtful)
    # A refused signed URL may have expired: all are asked for anew.
    rounds = 3 if route.is_signed and refusal.status in {400, 401, 403, 404, 410} else 1
    tries = ATTEMPTS if refusal.is_retried else rounds
    assert len(scene.api.received(route.target)) == tries
    assert len(scene.clock.sleeps) == (ATTEMPTS - 1 if refusal.is_retried else 0)
    assert list(scene.folder.iterdir()) == []
    assert_reveals_nothing(error)


async def test_what_was_wrong_with_a_parameter_is_given_in_full(scene: Scene) -> None:
    scene.api.on(named("smarturgences").target, scripts.reply_json(_INVALID, 422))
    async with scene.client() as client:
        with pytest.raises(RequestValidationError) as caught:
            await client.get_smarturgences(STUDY_UID, language="xx")
    assert [detail.loc for detail in caught.value.details] == [["query", "language"]]


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_study_that_cannot_be_formatted_is_an_error_of_its_own_and_not_retried(
    scene: Scene, route: Route
) -> None:
    scene.api.on(route.target, scripts.reply_json({"message": "Error formatting study"}, 500))
    async with scene.client() as client:
        with pytest.raises(FormattingError):
            await route.call(client, scene)
    assert len(scene.api.received(route.target)) == 1


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_server_that_repeats_the_key_or_a_signature_does_not_get_them_into_the_error(
    scene: Scene, route: Route
) -> None:
    message = f"key {KEY} may not use {scene.signed_url('in')}"
    scene.api.on(route.target, scripts.reply_json({"message": message}, 400))
    async with scene.client() as client:
        with pytest.raises(APIError) as caught:
            await route.call(client, scene)
    assert "REDACTED" in caught.value.message
    assert_reveals_nothing(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Forbidden</html>", b'{"message": ', b'"no"', b"x" * 200_000, b"\xff\xfe"],
    ids=["empty", "html", "cut JSON", "other JSON", "too long", "not text"],
)
async def test_a_refusal_without_a_message_that_can_be_read_is_still_that_refusal(
    scene: Scene, body: bytes
) -> None:
    scene.api.on(named("status").target, scripts.answer(403, body, "text/html"))
    async with scene.client() as client:
        with pytest.raises(AuthenticationError, match="no message"):
            await client.get_status(STUDY_UID)


@pytest.mark.parametrize(
    "script",
    [
        scripts.cut(b'{"message": "Forbidden"}', 5, status=403),
        scripts.stall_in_reply(b'{"message": "Forbidden"}', 5, status=403),
        scripts.drip(b'{"message": "Forbidden"}', status=403),
        scripts.answer(403, b"not gzip", headers={"Content-Encoding": "gzip"}),
        scripts.answer(403, b"what?", headers={"Content-Encoding": "br"}),
    ],
    ids=["cut", "stalled", "dripped", "damaged encoding", "unknown encoding"],
)
async def test_a_refusal_whose_body_cannot_be_had_is_still_that_refusal(
    scene: Scene, script: scripts.Script
) -> None:
    scene.api.on(named("status").target, script)
    async with scene.client(idle_timeout=0.3) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.get_status(STUDY_UID)
    assert caught.value.status == 403
    assert len(scene.api.received(named("status").target)) == 1


def test_the_secrets_of_these_tests_are_what_is_looked_for() -> None:
    with pytest.raises(AssertionError):
        assert_reveals_nothing(RuntimeError(f"it has {KEY} in it"))
    with pytest.raises(AssertionError):
        assert_reveals_nothing(RuntimeError(f"https://host/blob?sig={SIGNATURE}"))
