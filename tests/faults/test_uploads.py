"""Bodies on their way out: whole each time, watched, and given up in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom
import pytest
from pydantic import SecretStr

from milvue_async import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    InvalidStudyError,
    MilvueClient,
    MilvueError,
    QuotaExceededError,
    RequestTimeoutError,
)
from milvue_async.protocol.requests import signed_put_request
from milvue_async.settings import Settings
from milvue_async.transport import Transport
from tests import dicom_files
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.support import KEY, STUDY_UID, Scene, assert_reveals_nothing

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async.exchange import Body, OpenBody
    from milvue_async.routes import Transfer
    from milvue_async.sources import StudySource
    from tests.faults.server import Received

_UPLOADS = [route for route in ROUTES if route.is_upload]
_LARGE = [named("store"), named("put")]
_UNKNOWN = scripts.reply_json({"message": "Study not found"}, 404)
_MIB = 1 << 20


@pytest.fixture
def large(scene: Scene, tmp_path: Path) -> Scene:
    """The scene with a study of 16 MiB: more than the buffers between client and server hold."""
    path = dicom_files.large_instance(tmp_path / "large.dcm", 16, study_instance_uid=STUDY_UID)
    uid = pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
    scene.files = [path]
    answer = scene.announced() | {"signed_urls": {uid: scene.signed_url("in")}}
    if_signed = scripts.reply_json(answer)

    async def store(exchange: scripts.Exchange) -> None:
        is_signed = "signed_url=true" in exchange.request.target
        await (if_signed if is_signed else scripts.reply_json({}))(exchange)

    scene.api.on("POST /v3/studies", store)
    return scene


def _fault(scene: Scene, route: Route, *faults: scripts.Script) -> None:
    """Break the upload itself; for signed URLs its announcement goes on working."""
    scene.api.on(route.target, *faults)
    scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", _UNKNOWN)


def _is_whole(request: Received) -> bool:
    return len(request.body) == request.length > 0


@pytest.mark.parametrize("kind", ["path", "bytes", "dataset"])
@pytest.mark.parametrize("route", _UPLOADS, ids=str)
async def test_a_body_is_sent_again_whole_from_its_first_byte(
    scene: Scene, route: Route, kind: str
) -> None:
    sources: dict[str, StudySource] = {
        "path": scene.files,
        "bytes": scene.content,
        "dataset": pydicom.dcmread(scene.files[0]),
    }
    good = scripts.answer(200, scene.body(route.name))
    faults = [
        scripts.reply_json({"message": "Busy"}, 503),
        scripts.lose_reply,
        scripts.reset_in_upload(500),
    ]
    _fault(scene, route, *faults, good)
    transfer: Transfer = "dicomweb" if route.name == "store" else "signed_url"
    async with scene.client(retry_attempts=4) as client:
        await client.post_study(sources[kind], transfer=transfer)
    first, second, cut, last = scene.api.received(route.target)
    assert _is_whole(first)
    assert first.body == second.body == last.body
    assert first.body.startswith(cut.body)
    assert len(cut.body) < len(first.body)
    assert [first.head, second.head, cut.head] == [last.head] * 3


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_body_has_its_length_announced_and_is_never_chunked(
    scene: Scene, route: Route
) -> None:
    async with scene.client() as client:
        await route.call(client, scene)
    for request in scene.api.requests:
        assert "transfer-encoding" not in request.headers
        assert "expect" not in request.headers
        if request.method != "GET":
            assert "content-length" in request.headers
            assert len(request.body) == request.length


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_every_request_carries_the_key_and_asks_for_no_compression(
    scene: Scene, route: Route
) -> None:
    async with scene.client() as client:
        await route.call(client, scene)
    assert scene.api.requests
    for request in scene.api.requests:
        assert request.headers["x-goog-meta-owner"] == KEY
        assert request.headers["accept-encoding"] == "identity"
        assert request.head.lower().count(b"x-goog-meta-owner") == 1
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


@pytest.mark.parametrize("name", ["put", "signed results", "signed download"])
async def test_a_signed_url_arrives_as_it_was_given(scene: Scene, name: str) -> None:
    async with scene.client() as client:
        await named(name).call(client, scene)
    (request,) = scene.api.received(named(name).target)
    given = scene.signed_url("in" if name == "put" else "out")
    assert scene.api.url + request.target == given


@pytest.mark.parametrize("route", _LARGE, ids=str)
async def test_an_upload_that_stalls_is_given_up_after_the_idle_time(
    large: Scene, route: Route
) -> None:
    _fault(large, route, scripts.stall_in_upload)
    async with large.client(idle_timeout=0.5, retry_attempts=1) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            await route.call(client, large)
    assert (caught.value.route, caught.value.study_instance_uid) == (route.route, STUDY_UID)
    assert caught.value.in_doubt == route.submits
    assert_reveals_nothing(caught.value)


@pytest.mark.parametrize("route", _LARGE, ids=str)
async def test_a_server_that_sips_at_an_upload_does_not_keep_it_alive(
    large: Scene, route: Route
) -> None:
    async def sip(exchange: scripts.Exchange) -> None:
        taken = 0
        while await exchange.pause(0.02):
            taken += 16
            await exchange.receive(taken)
        await exchange.stall()

    _fault(large, route, sip)
    async with large.client(idle_timeout=0.5, retry_attempts=1) as client:
        with pytest.raises(RequestTimeoutError):
            await route.call(client, large)


class _OneChunk:
    """A body that comes as a single chunk, as from a disk that is read in large steps."""

    error: MilvueError | None = None

    def __init__(self, size: int) -> None:
        self.length = size
        self._left = 0

    def open(self) -> OpenBody:
        self._left = 1
        return self

    def __aiter__(self) -> _OneChunk:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return bytes(self.length)

    def close(self) -> None:
        self._left = 0


async def test_a_slow_line_that_goes_on_moving_is_not_given_up(scene: Scene) -> None:
    async def slow(exchange: scripts.Exchange) -> None:
        for taken in range(0, 6 * _MIB, _MIB // 4):
            await exchange.receive(taken)
            await exchange.pause(0.05)
        # The rest is on its way already, in the buffers of the machine.
        await scripts.answer(201)(exchange)

    scene.api.on("PUT /blob/*", slow)
    settings = Settings(
        api_url=scene.api.url, token=SecretStr(KEY), idle_timeout=0.6, retry_attempts=1
    )
    request = signed_put_request(scene.signed_url("in"), STUDY_UID, api_url=scene.api.url)
    body: Body = _OneChunk(8 * _MIB)
    async with Transport(settings) as transport:
        assert (await transport.fetch(request, body=body)).status == 201
    (received,) = scene.api.requests
    assert len(received.body) == 8 * _MIB


@pytest.mark.parametrize(
    ("status", "error"),
    [(413, APIError), (403, AuthenticationError), (429, QuotaExceededError)],
    ids=str,
)
async def test_a_server_that_refuses_in_mid_upload_is_heard(
    large: Scene, status: int, error: type[APIError]
) -> None:
    body = b'{"message": "Not that"}'
    headers = {"Retry-After": "7"}
    early = scripts.refuse_early(status, body, after=100_000, headers=headers)
    _fault(large, named("store"), early)
    async with large.client() as client:
        with pytest.raises(error) as caught:
            await client.post_study(large.files)
    assert caught.value.status == status
    assert getattr(caught.value, "retry_after", 7) == 7
    for request in large.api.received("POST /v3/studies"):
        assert len(request.body) < request.length
    assert_reveals_nothing(caught.value)


async def test_a_signed_url_refused_in_mid_upload_is_asked_for_anew(large: Scene) -> None:
    early = scripts.refuse_early(403, b"<Error>expired</Error>", after=100_000)
    large.api.on("PUT /blob/*", early, scripts.answer(201))
    async with large.client() as client:
        await client.post_study(large.files, transfer="signed_url")
    *_, last = large.api.received("PUT /blob/*")
    assert _is_whole(last)


async def test_a_file_that_changes_between_two_tries_is_not_sent_as_if_it_were_the_same(
    scene: Scene,
) -> None:
    async def refuse(exchange: scripts.Exchange) -> None:
        await exchange.receive()
        scene.files[0].write_bytes(scene.content + b"\0" * 64)
        await scripts.reply_json({"message": "Busy"}, 503)(exchange)

    _fault(scene, named("store"), refuse)
    async with scene.client() as client:
        with pytest.raises(InvalidStudyError, match="changed after it was checked") as caught:
            await client.post_study(scene.files)
    assert caught.value.route == "POST /v3/studies"
    assert not caught.value.in_doubt
    assert_reveals_nothing(caught.value)


async def test_a_client_that_was_closed_says_so(scene: Scene) -> None:
    client = MilvueClient(scene.api.url, KEY)
    async with client:
        pass
    with pytest.raises(ConfigurationError, match="not open"):
        await client.get_status(STUDY_UID)
    assert scene.api.connections == 0
