"""STOW and WADO against Orthanc, a server that this project did not write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pydicom
import pytest
from aiohttp import web

from milvue_async import (
    APIError,
    InvalidStudyError,
    MilvueClient,
    NotFoundError,
    ServerError,
    Study,
    load_study,
)
from tests.dicom_files import instance, pydicom_files, study_files
from tests.peers.orthanc import OrthancRest, run_orthanc
from tests.peers.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

ROOT = Path(__file__).parents[2]
MEBIBYTE = 1 << 20
TRANSCODED = 'multipart/related; type="application/dicom"'  # to explicit VR little endian
AS_STORED = f"{TRANSCODED}; transfer-syntax=*"
# Whole files that Orthanc 1.10 (DCMTK 3.6.7) refuses: it does not find their UIDs.
NOT_FOR_ORTHANC = {
    "SC_rgb_jpeg.dcm": "implicit VR elements, though its transfer syntax is JPEG Baseline",
    "rtdose_rle.dcm": "UIDs of VR UN, which DCMTK leaves as bytes",
    "rtdose_rle_1frame.dcm": "UIDs of VR UN, which DCMTK leaves as bytes",
}


def client_of(url: str, token: str, retrieve_accept: str = AS_STORED) -> MilvueClient:
    return MilvueClient(
        url,
        token,
        store_accept="application/dicom+json",
        retrieve_accept=retrieve_accept,
        retry_attempts=1,
    )


@pytest.fixture
async def pacs(orthanc: OrthancRest, token: str) -> AsyncIterator[MilvueClient]:
    """A client whose API is Orthanc."""
    async with client_of(orthanc.url, token) as opened:
        yield opened


def real_file(name: str) -> Path:
    return next(path for path in pydicom_files() if path.name == name)


async def acceptable_files() -> list[tuple[Path, Study]]:
    """The real files that the client takes for DICOM."""
    found = []
    for path in pydicom_files():
        try:
            found.append((path, await load_study(path)))
        except InvalidStudyError:
            continue
    return found


def with_unknown_vr(file: bytes) -> bytes:
    """The same instance, its SOPInstanceUID encoded with VR UN (PS3.5 section 6.2.2)."""
    start = file.index(b"\x08\x00\x18\x00UI")
    length = file[start + 6 : start + 8]
    return file[: start + 4] + b"UN\0\0" + length + b"\0\0" + file[start + 8 :]


def large_study(folder: Path) -> list[Path]:
    """Four images of 30 MiB."""
    folder.mkdir()
    files = []
    for number in range(1, 5):
        dataset = instance(study_instance_uid="1.2.3", number=number, rows=15 * 1024, columns=1024)
        dataset.PixelData = bytes([number]) * (30 * MEBIBYTE)
        files.append(folder / f"{number}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


async def sop_instance_uids(*files: Path) -> list[str]:
    return [(await load_study(file)).instances[0].header.sop_instance_uid for file in files]


async def test_a_study_that_was_posted_is_stored_byte_for_byte(
    pacs: MilvueClient, orthanc: OrthancRest, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3)
    study = await load_study(files)
    answer = await pacs.post_study(study)
    assert answer.StudyInstanceUID == study.study_instance_uid
    assert answer.retrieve_url == f"{orthanc.url}/v3/studies/{study.study_instance_uid}"
    assert sorted(await orthanc.files()) == sorted(file.read_bytes() for file in files)


async def test_bytes_and_datasets_are_stored_as_files_are(
    pacs: MilvueClient, orthanc: OrthancRest, tmp_path: Path
) -> None:
    first, second, third = study_files(tmp_path, instances=3)
    await pacs.post_study([first, second.read_bytes(), pydicom.dcmread(third)])
    expected = [first.read_bytes(), second.read_bytes(), third.read_bytes()]
    assert sorted(await orthanc.files()) == sorted(expected)


async def test_every_real_file_is_stored_and_comes_back_byte_for_byte(
    pacs: MilvueClient, orthanc: OrthancRest, tmp_path: Path
) -> None:
    refused: dict[str, str] = {}
    files = await acceptable_files()
    for path, study in files:
        try:
            await pacs.post_study(study)
        except APIError as error:
            refused[path.name] = str(error)
            continue
        assert await orthanc.files() == [path.read_bytes()], path.name
        [result] = await pacs.download_results(study.study_instance_uid, "x", tmp_path)
        assert result.read_bytes() == path.read_bytes(), path.name
        await orthanc.clear()
    assert set(refused) == set(NOT_FOR_ORTHANC), refused
    uids = {path.name: study.instances[0].header.sop_instance_uid for path, study in files}
    assert all(uids[name] in message for name, message in refused.items()), refused
    assert len(files) > 150


async def test_results_are_the_datasets_that_were_posted(
    pacs: MilvueClient, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3)
    uid = (await pacs.post_study(files)).StudyInstanceUID
    results = await pacs.get_results(uid, "smarturgences")
    by_number = sorted(results, key=lambda result: result.InstanceNumber)
    assert by_number == [pydicom.dcmread(file) for file in files]


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "image_dfl.dcm",
        "JPEG2000.dcm",
        "JPEG-lossy.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_RLE.dcm",
    ],
)
async def test_results_of_every_transfer_syntax_are_read_whole(
    pacs: MilvueClient, name: str
) -> None:
    path = real_file(name)
    uid = (await pacs.post_study(path)).StudyInstanceUID
    [result] = await pacs.get_results(uid, "smarturgences")
    expected = pydicom.dcmread(path)
    assert result == expected
    assert result.file_meta == expected.file_meta


async def test_results_that_the_server_transcodes_have_the_same_pixels(
    orthanc: OrthancRest, token: str
) -> None:
    path = real_file("MR_small_RLE.dcm")
    async with client_of(orthanc.url, token, TRANSCODED) as client:
        uid = (await client.post_study(path)).StudyInstanceUID
        [result] = await client.get_results(uid, "smarturgences")
    assert result.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (result.pixel_array == pydicom.dcmread(path).pixel_array).all()


async def test_a_failed_transcoding_is_a_server_error(orthanc: OrthancRest, token: str) -> None:
    async with client_of(orthanc.url, token, TRANSCODED) as client:
        uid = (await client.post_study(real_file("JPEG2000.dcm"))).StudyInstanceUID
        with pytest.raises(ServerError) as caught:
            await client.get_results(uid, "smarturgences")
    assert caught.value.status == 500
    assert caught.value.study_instance_uid == uid


async def test_a_study_that_orthanc_does_not_have_is_not_found(pacs: MilvueClient) -> None:
    with pytest.raises(NotFoundError):
        await pacs.get_results("1.2.3.4", "smarturgences")


async def test_an_instance_that_orthanc_cannot_read_is_named(
    pacs: MilvueClient, orthanc: OrthancRest, tmp_path: Path
) -> None:
    good, bad, last = study_files(tmp_path, instances=3)
    bad.write_bytes(with_unknown_vr(bad.read_bytes()))
    with pytest.raises(APIError) as caught:
        await pacs.post_study([good, bad, last])
    assert caught.value.status == 400
    assert (await sop_instance_uids(bad))[0] in str(caught.value)
    assert sorted(await orthanc.files()) == sorted([good.read_bytes(), last.read_bytes()])


async def test_an_instance_that_is_lost_under_a_200_is_an_error(
    http: aiohttp.ClientSession, token: str, tmp_path: Path
) -> None:
    # Orthanc 1.10 with its plugin 1.7: where the storage has no room for an instance, it drops
    # this one and those behind it, answers 200, and only leaves them out of the ReferencedSOP-
    # Sequence (0008,1199).
    small = study_files(tmp_path / "study", instances=2)
    study = (await load_study(small)).study_instance_uid
    [large] = study_files(
        tmp_path / "study",
        instances=1,
        rows=1024,
        columns=1024,
        study_instance_uid=study,
        modality="CR",
    )
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with run_orthanc(folder, MaximumStorageSize=1) as full:
        async with client_of(full.url, token) as client:
            with pytest.raises(APIError) as caught:
                await client.post_study([small[0], large, small[1]])
        assert await OrthancRest(http, full.url).files() == [small[0].read_bytes()]
    assert "2 instances were not stored" in str(caught.value)
    assert (await sop_instance_uids(large))[0] in str(caught.value)


async def test_a_failed_sop_sequence_is_told(
    orthanc: OrthancRest, http: aiohttp.ClientSession, token: str, tmp_path: Path
) -> None:
    async def restrict(request: web.Request) -> web.Response:
        """Pass a study on to where Orthanc takes only instances of study 1.2.3."""
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept")}
        target = f"{orthanc.url}/v3/studies/1.2.3"
        async with http.post(target, data=await request.read(), headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    front = web.Application()
    front.router.add_post("/v3/studies", restrict)
    files = study_files(tmp_path, instances=3)
    async with serving(front) as url, client_of(url, token) as client:
        with pytest.raises(APIError) as caught:
            await client.post_study(files)
    assert caught.value.status == 409
    assert caught.value.message == (
        f"3 instances were not stored, {(await sop_instance_uids(*files))[0]} first "
        "(failure reason 0x0110)"
    )
    assert await orthanc.instance_ids() == []


async def test_memory_does_not_grow_with_the_study(orthanc: OrthancRest, tmp_path: Path) -> None:
    files = large_study(tmp_path / "study")
    command = [sys.executable, "-m", "tests.peers.post_and_download", orthanc.url]
    arguments = [str(tmp_path / "results"), *map(str, files)]
    finished = await anyio.run_process([*command, *arguments], cwd=ROOT, stderr=None)
    before, after = map(int, finished.stdout.split())
    assert sum(file.stat().st_size for file in files) > 120 * MEBIBYTE
    assert after - before < 16 * MEBIBYTE
    received = [file.read_bytes() for file in (tmp_path / "results").iterdir()]
    assert sorted(received) == sorted(file.read_bytes() for file in files)
