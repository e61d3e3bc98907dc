"""Signed URLs against Azurite: Microsoft's blob storage, its SDK's signatures, our client."""

from __future__ import annotations

import logging
import traceback
import uuid
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
import pydicom
import pytest
from aiohttp import web
from requests_toolbelt import MultipartDecoder  # type: ignore[import-untyped]  # it has no stubs

from milvue_async import AuthenticationError, MilvueClient, MilvueError, Study, load_study
from tests.dicom_files import pydicom_files, study_files
from tests.peers.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.peers.azurite import Azurite

VALID = 600.0
EXPIRED = -60.0
TRIES = 3


@dataclass
class Front:
    """Milvue's API as far as signed URLs go; the results of a study are the files put for it.

    Attributes:
        azurite: Where its URLs lead.
        blob_name: SOPInstanceUID to the name of its blob.
        lifetimes: Seconds that the URLs of the first answer live, of the second, and so on; the
            last stays.
    """

    azurite: Azurite
    blob_name: Callable[[str], str]
    lifetimes: list[float] = field(default_factory=lambda: [VALID])
    announced: list[pydicom.Dataset] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    answers: int = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/v3/studies", self.store)
        application.router.add_get("/v3/studies/{study}", self.retrieve)
        return application

    async def store(self, request: web.Request) -> web.Response:
        assert request.query["signed_url"] == "true"
        decoder = MultipartDecoder(await request.read(), request.headers["Content-Type"])
        self.announced = [pydicom.dcmread(BytesIO(part.content)) for part in decoder.parts]
        signed = self.sign("cw")
        study = self.announced[0].StudyInstanceUID
        body = {"StudyInstanceUID": study, "message": "put them there", "signed_urls": signed}
        return web.json_response(body)

    async def retrieve(self, request: web.Request) -> web.Response:
        assert request.query["signed_url"] == "true"
        body = {"StudyInstanceUID": request.match_info["study"], "status": "done", "version": "3"}
        return web.json_response({**body, "signed_urls": list(self.sign("r").values())})

    def sign(self, permission: str) -> dict[str, str]:
        seconds = self.lifetimes[min(self.answers, len(self.lifetimes) - 1)]
        self.answers += 1
        signed = {
            uid: self.azurite.signed_url(self.blob_name(uid), permission, seconds)
            for uid in (str(dataset.SOPInstanceUID) for dataset in self.announced)
        }
        self.urls += signed.values()
        return signed


@pytest.fixture
async def front(azurite: Azurite) -> Front:
    """A front whose blobs no other test has."""
    folder = uuid.uuid4().hex
    return Front(azurite, lambda uid: f"{folder}/{uid}.dcm")


@pytest.fixture
async def milvue(front: Front, token: str) -> AsyncIterator[MilvueClient]:
    """A client of that front."""
    async with serving(front.application()) as url, MilvueClient(url, token) as opened:
        yield opened


async def blobs(front: Front) -> dict[str, bytes]:
    """What was put for the study, by SOPInstanceUID."""

    def read() -> dict[str, bytes]:
        uids = [str(dataset.SOPInstanceUID) for dataset in front.announced]
        return {uid: front.azurite.content(front.blob_name(uid)) for uid in uids}

    return await anyio.to_thread.run_sync(read)


async def by_uid(files: list[Path]) -> dict[str, bytes]:
    study = await load_study(files)
    return {
        instance.header.sop_instance_uid: file.read_bytes()
        for instance, file in zip(study.instances, files, strict=True)
    }


def files_in(folder: Path) -> set[Path]:
    return set(folder.iterdir()) if folder.exists() else set()


async def test_whole_files_are_put_and_announced_without_pixels(
    milvue: MilvueClient, front: Front, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3)
    answer = await milvue.post_study(files, transfer="signed_url")
    assert await blobs(front) == await by_uid(files)
    assert [dataset["PixelData"].is_empty for dataset in front.announced] == [True, True, True]
    assert answer.StudyInstanceUID == front.announced[0].StudyInstanceUID
    name = front.blob_name(front.announced[0].SOPInstanceUID)
    properties = await anyio.to_thread.run_sync(front.azurite.properties, name)
    assert properties.blob_type == "BlockBlob"
    assert properties.content_settings.content_type == "application/dicom"


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "JPEG2000.dcm"]
)
async def test_real_files_are_put_byte_for_byte_and_come_back(
    milvue: MilvueClient, front: Front, tmp_path: Path, name: str
) -> None:
    path = next(path for path in pydicom_files() if path.name == name)
    uid = (await milvue.post_study(path, transfer="signed_url")).StudyInstanceUID
    assert list((await blobs(front)).values()) == [path.read_bytes()]
    [result] = await milvue.download_results(uid, "x", tmp_path, transfer="signed_url")
    assert result.read_bytes() == path.read_bytes()


async def test_results_are_the_datasets_behind_the_urls(
    milvue: MilvueClient, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3)
    uid = (await milvue.post_study(files, transfer="signed_url")).StudyInstanceUID
    results = await milvue.get_results(uid, "smarturgences", transfer="signed_url")
    by_number = sorted(results, key=lambda result: result.InstanceNumber)
    assert by_number == [pydicom.dcmread(file) for file in files]


async def test_results_are_downloaded_byte_for_byte(milvue: MilvueClient, tmp_path: Path) -> None:
    files = study_files(tmp_path, instances=3)
    uid = (await milvue.post_study(files, transfer="signed_url")).StudyInstanceUID
    folder = tmp_path / "results"
    paths = await milvue.download_results(uid, "smarturgences", folder, transfer="signed_url")
    assert await by_uid(paths) == await by_uid(files)
    assert files_in(folder) == set(paths)


async def test_new_urls_are_asked_for_when_those_to_put_have_expired(
    milvue: MilvueClient, front: Front, tmp_path: Path
) -> None:
    front.lifetimes = [EXPIRED, VALID]
    files = study_files(tmp_path, instances=2)
    await milvue.post_study(files, transfer="signed_url")
    assert front.answers == 2
    assert await blobs(front) == await by_uid(files)


async def test_new_urls_are_asked_for_when_those_to_get_have_expired(
    milvue: MilvueClient, front: Front, tmp_path: Path
) -> None:
    front.lifetimes = [VALID, EXPIRED, VALID]
    files = study_files(tmp_path, instances=2)
    uid = (await milvue.post_study(files, transfer="signed_url")).StudyInstanceUID
    paths = await milvue.download_results(uid, "x", tmp_path / "out", transfer="signed_url")
    assert front.answers == 3
    assert await by_uid(paths) == await by_uid(files)


async def put(client: MilvueClient, study: Study, _: Path) -> object:
    return await client.post_study(study, transfer="signed_url")


async def get(client: MilvueClient, study: Study, _: Path) -> object:
    return await client.get_results(study.study_instance_uid, "x", transfer="signed_url")


async def download(client: MilvueClient, study: Study, folder: Path) -> object:
    uid = study.study_instance_uid
    return await client.download_results(uid, "x", folder, transfer="signed_url")


@pytest.mark.parametrize("transfer", [put, get, download])
async def test_a_lasting_refusal_is_an_authentication_error_that_shows_no_signature(
    milvue: MilvueClient,
    front: Front,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    transfer: Callable[[MilvueClient, Study, Path], Awaitable[object]],
) -> None:
    study = await load_study(study_files(tmp_path / "study", instances=2))
    await milvue.post_study(study, transfer="signed_url")
    front.answers, front.lifetimes = 0, [EXPIRED]
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AuthenticationError) as caught:
        await transfer(milvue, study, tmp_path / "results")
    assert front.answers == TRIES
    assert caught.value.status == 403
    assert caught.value.study_instance_uid == study.study_instance_uid
    shown = everything_shown(caught.value) + caplog.text
    assert "HTTP 403" in shown
    token = milvue.settings.token.get_secret_value()
    assert not [secret for secret in (token, *secrets(front.urls)) if secret in shown]
    assert not files_in(tmp_path / "results")


def secrets(urls: list[str]) -> list[str]:
    """The queries of signed URLs, and their signatures encoded and not."""
    queries = [urlsplit(url).query for url in urls]
    assert queries
    encoded = [part for query in queries for part in query.split("&") if part.startswith("sig=")]
    return [*queries, *encoded, *(parse_qs(query)["sig"][0] for query in queries)]


def everything_shown(error: MilvueError) -> str:
    """An exception in all its words, those of what it came from included."""
    words = [str(error), repr(error), repr(error.args), repr(vars(error))]
    return "\n".join([*words, *traceback.format_exception(error)])


@pytest.mark.parametrize(
    "marks",
    ["a b", "a@b", "a+b&c=d", "50%", "a%2Fb", "is it?#2", "a/b//c", "Röntgen", "a:b;c,d'(e)!*~"],
)
async def test_names_that_need_encoding_survive(
    milvue: MilvueClient, front: Front, tmp_path: Path, marks: str
) -> None:
    folder = uuid.uuid4().hex
    front.blob_name = lambda uid: f"{folder}/{marks}/{uid}.dcm"
    files = study_files(tmp_path, instances=1)
    uid = (await milvue.post_study(files, transfer="signed_url")).StudyInstanceUID
    results = await milvue.get_results(uid, "x", transfer="signed_url")
    assert results == [pydicom.dcmread(files[0])]
    names = await anyio.to_thread.run_sync(front.azurite.names)
    assert front.blob_name(results[0].SOPInstanceUID) in names
    put, got = (url.removeprefix(url_root(url)) for url in front.urls)
    requests = front.azurite.program.said()
    assert f'"PUT {put} HTTP/1.1" 201' in requests
    assert f'"GET {got} HTTP/1.1" 200' in requests


def url_root(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
