"""Answers that are whole in HTTP terms, and wrong."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from milvue_async import MilvueError, PredictionTimeoutError, ProtocolError
from milvue_async.dicom import dataset_to_bytes
from tests import dicom_files
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.support import (
    ATTEMPTS,
    OTHER_UID,
    STUDY_UID,
    Scene,
    assert_reveals_nothing,
    smarturgences,
    smartxpert,
    status,
    stored,
)

if TYPE_CHECKING:
    from tests.faults.scripts import Script

_READ = [route for route in ROUTES if route.kind != "any"]
_JSON = [route for route in ROUTES if route.kind == "json"]
_DICOM = [route for route in ROUTES if route.kind == "dicom"]


async def _refused(
    scene: Scene, route: Route, script: Script, *, tries: int = 1, **options: Any
) -> ProtocolError:
    """The error of an answer that cannot be used."""
    scene.api.on(route.target, script)
    if route.submits:
        unknown = scripts.reply_json({"message": "Study not found"}, 404)
        scene.api.on(f"GET /v3/studies/{STUDY_UID}/status", unknown)
    async with scene.client(**options) as client:
        with pytest.raises(ProtocolError) as caught:
            await route.call(client, scene)
    error = caught.value
    assert (error.route, error.study_instance_uid) == (route.route, STUDY_UID)
    assert error.status == 200
    assert error.in_doubt == route.submits
    assert len(scene.api.received(route.target)) == tries
    assert list(scene.folder.iterdir()) == []
    assert_reveals_nothing(error)
    return error


@pytest.mark.parametrize("route", _READ, ids=str)
async def test_the_page_of_a_captive_portal_is_no_answer(scene: Scene, route: Route) -> None:
    error = await _refused(scene, route, scripts.captive_portal)
    assert "log in" not in str(error)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": 1}', b"\xff", b"[" * 50_000])
@pytest.mark.parametrize("route", _READ, ids=str)
async def test_json_that_is_none_or_of_another_schema_is_no_answer(
    scene: Scene, route: Route, body: bytes
) -> None:
    await _refused(scene, route, scripts.answer(200, body))


@pytest.mark.parametrize("route", _JSON, ids=str)
async def test_an_answer_about_another_study_is_no_answer(scene: Scene, route: Route) -> None:
    bodies = {
        "store": stored(OTHER_UID),
        "announce": scene.announced(OTHER_UID),
        "status": status(OTHER_UID),
        "urls": scene.retrievable(OTHER_UID),
        "smarturgences": smarturgences(OTHER_UID),
        "smartxpert": smartxpert(OTHER_UID),
    }
    error = await _refused(scene, route, scripts.reply_json(bodies[route.name]))
    assert "another study" in error.message


@pytest.mark.parametrize("name", ["results", "download", "urls", "smarturgences", "smartxpert"])
async def test_running_for_another_study_is_not_waited_for(scene: Scene, name: str) -> None:
    body = status(OTHER_UID, "running")
    await _refused(scene, named(name), scripts.reply_json(body))


@pytest.mark.parametrize("route", _DICOM, ids=str)
async def test_a_result_of_another_study_is_not_kept(scene: Scene, route: Route) -> None:
    dataset = dicom_files.instance(study_instance_uid=OTHER_UID)
    dataset.PixelData = bytes(64 * 64 * 2)
    content = dataset_to_bytes(dataset)
    body = content if route.is_signed else scripts.parts(scene.content, content)
    script = scripts.answer(200, body, route.content_type)
    error = await _refused(scene, route, script)
    assert "another study" in error.message


@pytest.mark.parametrize("route", _JSON, ids=str)
async def test_a_json_answer_is_read_no_further_than_allowed(scene: Scene, route: Route) -> None:
    body = scene.body(route.name) + b" " * (17 << 20)
    limits = {"max_json_bytes": 1 << 16}
    error = await _refused(scene, route, scripts.answer(200, body), **limits)
    assert "longer than" in error.message


@pytest.mark.parametrize("route", _READ, ids=str)
async def test_a_body_that_inflates_to_too_much_is_given_up(scene: Scene, route: Route) -> None:
    script = scripts.gzip_bomb(24, route.content_type)
    limits = {"max_json_bytes": 1 << 20, "max_result_bytes": 1 << 20}
    error = await _refused(scene, route, script, **limits)
    assert "bytes" in error.message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
@pytest.mark.parametrize("route", _READ, ids=str)
async def test_a_content_encoding_that_is_damaged_or_unknown_is_no_answer(
    scene: Scene, route: Route, encoding: str
) -> None:
    headers = {"Content-Encoding": encoding}
    script = scripts.answer(200, scene.body(route.name), route.content_type, headers)
    await _refused(scene, route, script)


@pytest.mark.parametrize("route", _READ, ids=str)
async def test_a_compressed_body_without_its_check_sum_is_asked_for_again(
    scene: Scene, route: Route
) -> None:
    body = gzip.compress(scene.body(route.name))[:-4]
    script = scripts.answer(200, body, route.content_type, {"Content-Encoding": "gzip"})
    error = await _refused(scene, route, script, tries=ATTEMPTS)
    assert "before it is complete" in error.message


@pytest.mark.parametrize("route", _READ, ids=str)
async def test_a_compressed_body_is_read(scene: Scene, route: Route) -> None:
    body = gzip.compress(scene.body(route.name))
    headers = {"Content-Encoding": "gzip"}
    scene.api.on(route.target, scripts.answer(200, body, route.content_type, headers))
    async with scene.client() as client:
        await route.call(client, scene)


async def test_while_a_body_inflates_other_tasks_have_their_turn(scene: Scene) -> None:
    scene.api.on(named("status").target, scripts.gzip_bomb(32))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with scene.client(max_json_bytes=1 << 30) as client, anyio.create_task_group() as group:
        group.start_soon(count)
        with pytest.raises(ProtocolError):
            await client.get_status(STUDY_UID)
        group.cancel_scope.cancel()
    assert turns >= 32


@pytest.mark.parametrize("name", ["results", "download"])
@pytest.mark.parametrize("removed", [1, 2, 5, 20, 4000])
async def test_a_multipart_without_its_closing_boundary_is_fetched_again_and_nothing_is_kept(
    scene: Scene, name: str, removed: int
) -> None:
    body = scripts.parts(scene.content, scene.content).rstrip(b"\r\n")[:-removed]
    script = scripts.multipart(body)
    error = await _refused(scene, named(name), script, tries=ATTEMPTS)
    assert "closing boundary" in error.message


async def test_results_that_are_whole_at_the_second_try_are_delivered(scene: Scene) -> None:
    whole = scripts.parts(scene.content)
    scene.api.on(named("download").target, scripts.multipart(whole[:-40]), scripts.multipart(whole))
    async with scene.client() as client:
        (path,) = await client.download_results(STUDY_UID, "smarturgences", scene.folder)
    assert path.read_bytes() == scene.content
    assert list(scene.folder.iterdir()) == [path]


@pytest.mark.parametrize("route", _DICOM, ids=str)
async def test_a_cut_result_whose_length_was_not_announced_is_fetched_again_and_not_kept(
    scene: Scene, route: Route
) -> None:
    body = scene.body(route.name)
    script = scripts.cut_without_length(body, len(body) - 100, route.content_type)
    await _refused(scene, route, script, tries=ATTEMPTS)


@pytest.mark.parametrize("route", _JSON, ids=str)
async def test_cut_json_whose_length_was_not_announced_is_no_answer(
    scene: Scene, route: Route
) -> None:
    body = scene.body(route.name)
    await _refused(scene, route, scripts.cut_without_length(body, len(body) - 10))


@pytest.mark.parametrize("route", _DICOM, ids=str)
async def test_what_is_no_whole_dicom_object_is_not_kept(scene: Scene, route: Route) -> None:
    cut = scene.content[:-1000]
    body = cut if route.is_signed else scripts.parts(scene.content, cut)
    script = scripts.answer(200, body, route.content_type)
    error = await _refused(scene, route, script, tries=ATTEMPTS)
    assert "not a whole DICOM object" in error.message


@pytest.mark.parametrize("name", ["results", "download", "urls"])
async def test_a_status_the_client_does_not_know_is_waited_for_until_the_deadline(
    scene: Scene, name: str
) -> None:
    body = json.dumps(status(value="resting")).encode()
    scene.api.on(named(name).target, scripts.answer(200, body))
    async with scene.client() as client:
        with pytest.raises(PredictionTimeoutError) as caught:
            await named(name).call(client, scene)
    assert caught.value.route == named(name).route
    assert sum(scene.clock.sleeps) == pytest.approx(30)


@pytest.mark.parametrize("value", ["", "ftp://host/x", "http://", "http://[::1", "/blob/in?sig=x"])
async def test_a_signed_url_that_is_none_is_refused_before_anything_is_sent(
    scene: Scene, value: str
) -> None:
    answer = scene.announced() | {"signed_urls": {f"{STUDY_UID}.1.1": value}}
    scene.api.on("POST /v3/studies", scripts.reply_json(answer))
    async with scene.client() as client:
        with pytest.raises(MilvueError, match="signed URL that"):
            await client.post_study(scene.files, transfer="signed_url")
    assert len(scene.api.requests) == 1
