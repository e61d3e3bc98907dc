"""Results in a folder: named by their UID, for the owner alone, and all of them or none."""

from __future__ import annotations

import asyncio
import gzip
import io
import stat
from typing import TYPE_CHECKING, Any

import anyio
import pydicom
import pytest
from aiohttp import web

from milvue_async import APIError, MilvueClient, ProtocolError, TransportError
from tests.dicom_files import instance, study_files
from tests.fake_clock import FakeClock
from tests.recorder import recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from milvue_async.simulator import Simulator

UID = "1.2.3"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=frontier'


def result(number: int, sop_instance_uid: str | None = None) -> bytes:
    """A DICOM result; its own UID is replaced where another, perhaps no UID, is given."""
    dataset = instance(study_instance_uid=UID, number=number)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(
        f"1.2.3.4.5.6.{number}"
    )
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    content = file.getvalue()
    if sop_instance_uid is None:
        return content
    assert len(sop_instance_uid) == len("1.2.3.4.5.6.1")
    return content.replace(f"1.2.3.4.5.6.{number}".encode(), sop_instance_uid.encode())


def multipart(*parts: bytes, content_type: str = "application/dicom", end: str = "--") -> bytes:
    head = f"--frontier\r\nContent-Type: {content_type}\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--frontier{end}".encode()


def answering(body: bytes, content_type: str = MULTIPART) -> Callable[..., Awaitable[Any]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_results_are_named_by_their_uid_and_for_their_owner_alone(
    simulator: Simulator, client: MilvueClient, tmp_path: Path
) -> None:
    await client.post_study(study_files(tmp_path / "in", study_instance_uid=UID))
    folder = tmp_path / "out" / "deep"
    paths = await client.download_results(UID, "smartxpert", folder)
    datasets = await client.get_results(UID, "smartxpert")
    assert [path.name for path in paths] == [f"{each.SOPInstanceUID}.dcm" for each in datasets]
    assert left_in(folder) == sorted(path.name for path in paths)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert len(paths) == 3  # one an image, and the recapitulative one
    for made in (folder, folder.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert simulator.account[UID].deliveries == {"smartxpert": {"dicomweb": 2}}


@pytest.mark.parametrize("content_type", ["application/dicom", "application/dicom+gzip"])
async def test_a_result_is_written_as_it_was_sent(
    content_type: str, token: str, tmp_path: Path
) -> None:
    sent = [result(1), result(2) + bytes(3 << 20)]
    packed = [gzip.compress(each) for each in sent] if content_type.endswith("gzip") else sent
    body = multipart(*packed, content_type=content_type)
    async with recorder(answering(body)) as server, MilvueClient(server.url, token) as client:
        paths = await client.download_results(UID, "x", tmp_path / "out")
    assert [path.read_bytes() for path in paths] == sent


async def test_older_results_of_the_same_name_are_replaced_and_others_left(
    token: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    (folder / "1.2.3.4.5.6.1.dcm").write_text("old")
    answer = answering(multipart(result(1)))
    async with recorder(answer) as server, MilvueClient(server.url, token) as client:
        [path] = await client.download_results(UID, "x", str(folder))
    assert path.read_bytes() == result(1)
    assert left_in(folder) == ["1.2.3.4.5.6.1.dcm", "mine.txt"]


BROKEN = {
    "cut in a part": multipart(result(1), result(2))[:-500],
    "without its closing boundary": multipart(result(1), result(2), end=""),
    "with half a file in whole framing": multipart(result(1), result(2)[:-100]),
    "with what is no DICOM": multipart(result(1), b"<html>"),
    "with a part of nothing": multipart(result(1), b""),
    "with the same result twice": multipart(result(1), result(2), result(1)),
    "with a path for a UID": multipart(result(1), result(2, "../../../evil")),
    "with an absolute path for a UID": multipart(result(1), result(2, "/tmp/evil-one")),  # noqa: S108  no file of ours
    "with dots for a UID": multipart(result(1), result(2, "1.2..3.4.5.67")),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_of_a_broken_answer_nothing_is_kept(body: bytes, token: str, tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        recorder(answering(body)) as server,
        MilvueClient(server.url, token, clock=clock) as client,
    ):
        with pytest.raises(ProtocolError) as caught:
            await client.download_results(UID, "x", tmp_path / "out")
        assert left_in(tmp_path / "out") == []
        with pytest.raises(ProtocolError):
            await client.get_results(UID, "x")
    assert "evil" not in str(caught.value)
    assert caught.value.study_instance_uid == UID
    assert caught.value.route == "GET /v3/studies/{study_instance_uid}"


async def test_a_broken_answer_is_asked_for_again(token: str, tmp_path: Path) -> None:
    bodies = [BROKEN["cut in a part"], multipart(result(1), result(2))]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bodies.pop(0), headers={"Content-Type": MULTIPART})

    async with (
        recorder(answer) as server,
        MilvueClient(server.url, token, clock=FakeClock()) as client,
    ):
        paths = await client.download_results(UID, "x", tmp_path)
    assert left_in(tmp_path) == [path.name for path in paths]


async def test_where_one_result_cannot_be_named_none_is(token: str, tmp_path: Path) -> None:
    (tmp_path / "1.2.3.4.5.6.2.dcm").mkdir()
    answer = answering(multipart(result(1), result(2), result(3)))
    async with recorder(answer) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(IsADirectoryError):
            await client.download_results(UID, "x", tmp_path)
    assert left_in(tmp_path) == ["1.2.3.4.5.6.2.dcm"]


async def test_a_folder_that_cannot_be_made_is_an_error_of_the_disk(
    token: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    answer = answering(multipart(result(1)))
    async with recorder(answer) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(NotADirectoryError):
            await client.download_results(UID, "x", tmp_path / "file" / "out")


@pytest.mark.parametrize(("status", "kept"), [("done", 1), ("empty", 1), ("novel", 1)])
async def test_a_status_beside_results_takes_none_away(
    status: str, kept: int, token: str, tmp_path: Path
) -> None:
    said = f'{{"StudyInstanceUID": "{UID}", "status": "{status}", "version": "1"}}'
    part = f"--frontier\r\nContent-Type: application/json\r\n\r\n{said}\r\n".encode()
    answer = answering(part + multipart(result(1)))
    async with recorder(answer) as server, MilvueClient(server.url, token) as client:
        assert len(await client.download_results(UID, "x", tmp_path)) == kept


async def test_results_of_a_study_that_still_runs_are_not_taken_for_all_of_them(
    token: str, tmp_path: Path
) -> None:
    said = f'{{"StudyInstanceUID": "{UID}", "status": "running", "version": "1"}}'
    part = f"--frontier\r\nContent-Type: application/json\r\n\r\n{said}\r\n".encode()
    bodies = [part + multipart(result(1)), multipart(result(1), result(2))]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=bodies.pop(0), headers={"Content-Type": MULTIPART})

    async with (
        recorder(answer) as server,
        MilvueClient(server.url, token, clock=FakeClock()) as client,
    ):
        paths = await client.download_results(UID, "x", tmp_path)
    assert len(paths) == 2
    assert left_in(tmp_path) == [path.name for path in paths]


class Storage:
    """An API that names signed URLs, and the storage behind them.

    Args:
        contents: What each URL holds.
        refusals: Statuses to answer the next GETs with.
    """

    def __init__(self, contents: list[bytes], refusals: list[int]) -> None:
        self.contents = contents
        self.refusals = refusals
        self.listings = 0

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path.startswith("/blob/"):
            if self.refusals:
                return web.Response(status=self.refusals.pop(0))
            return web.Response(body=self.contents[int(request.path.rpartition("/")[2])])
        self.listings += 1
        root = f"http://{request.host}/blob"
        urls = [f"{root}/{n}?sig={self.listings}" for n in range(len(self.contents))]
        answer = {"StudyInstanceUID": UID, "status": "done", "version": "1", "signed_urls": urls}
        return web.json_response(answer)


async def test_results_by_signed_urls_come_in_the_order_of_the_urls(
    token: str, tmp_path: Path
) -> None:
    storage = Storage([result(3) + bytes(1 << 20), result(1), result(2)], [])
    async with recorder(storage) as server, MilvueClient(server.url, token) as client:
        paths = await client.download_results(UID, "x", tmp_path, transfer="signed_url")
        datasets = await client.get_results(UID, "x", transfer="signed_url")
    uids = [f"1.2.3.4.5.6.{number}" for number in (3, 1, 2)]
    assert [path.stem for path in paths] == uids
    assert [each.SOPInstanceUID for each in datasets] == uids


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_signed_urls_that_have_expired_are_asked_for_anew(
    status: int, token: str, tmp_path: Path
) -> None:
    storage = Storage([result(1), result(2)], [status])
    async with recorder(storage) as server, MilvueClient(server.url, token) as client:
        paths = await client.download_results(UID, "x", tmp_path, transfer="signed_url")
    assert storage.listings == 2
    assert left_in(tmp_path) == [path.name for path in paths]


async def test_storage_that_goes_on_refusing_is_asked_three_times(
    token: str, tmp_path: Path
) -> None:
    storage = Storage([result(1)], [403] * 100)
    async with recorder(storage) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(APIError) as caught:
            await client.download_results(UID, "x", tmp_path, transfer="signed_url")
    assert storage.listings == 3
    assert caught.value.route == "GET signed URL"
    assert "sig=" not in str(caught.value)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"<html>", result(1)[:-50], result(1, "../../../evil")])
async def test_where_one_signed_url_gives_no_result_none_is_kept(
    content: bytes, token: str, tmp_path: Path
) -> None:
    storage = Storage([result(2), content, result(3)], [])
    async with (
        recorder(storage) as server,
        MilvueClient(server.url, token, clock=FakeClock()) as client,
    ):
        with pytest.raises(ProtocolError):
            await client.download_results(UID, "x", tmp_path, transfer="signed_url")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("way", ["task", "scope"])
async def test_a_download_that_is_cancelled_leaves_nothing(
    way: str, token: str, tmp_path: Path
) -> None:
    is_on_its_way = anyio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": MULTIPART})
        await reply.prepare(request)
        await reply.write(multipart(result(1), result(2) + bytes(2 << 20), end="")[:-100])
        is_on_its_way.set()
        await anyio.sleep_forever()
        return reply

    async with recorder(stall) as server, MilvueClient(server.url, token) as client:
        if way == "task":
            download = asyncio.create_task(client.download_results(UID, "x", tmp_path))
            await is_on_its_way.wait()
            await _until(lambda: len(left_in(tmp_path)) == 2)
            download.cancel()
            with pytest.raises(asyncio.CancelledError):
                await download
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(client.download_results, UID, "x", tmp_path)
                await is_on_its_way.wait()
                await _until(lambda: len(left_in(tmp_path)) == 2)
                group.cancel_scope.cancel()
        assert left_in(tmp_path) == []


async def _until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not is_so():  # noqa: ASYNC110  nothing tells when a file appears
            await anyio.sleep(0.001)


async def test_a_server_that_is_gone_leaves_nothing(token: str, tmp_path: Path) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": MULTIPART, "Content-Length": "9999"})
        await reply.prepare(request)
        await reply.write(multipart(result(1), end=""))
        assert request.transport is not None
        request.transport.abort()
        return reply

    async with (
        recorder(cut) as server,
        MilvueClient(server.url, token, clock=FakeClock()) as client,
    ):
        with pytest.raises(TransportError):
            await client.download_results(UID, "x", tmp_path)
    assert left_in(tmp_path) == []
