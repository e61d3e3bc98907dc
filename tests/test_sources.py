"""What can be sent and what is refused before anything is; a file's own bytes go out."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from aiohttp import web

from milvue_async import InvalidStudyError, MilvueClient, load_study
from tests.dicom_files import large_instance, pydicom_files, study_files
from tests.recorder import recorder

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async.routes import Transfer
    from milvue_async.simulator import Simulator

TRANSFERS = ["dicomweb", "signed_url"]


def digests(paths: list[Path]) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


async def test_the_instances_of_one_study_are_loaded_by_their_headers(tmp_path: Path) -> None:
    files = study_files(tmp_path, instances=3, study_instance_uid="1.2.3")
    study = await load_study(files)
    assert study.study_instance_uid == "1.2.3"
    assert [instance.name for instance in study.instances] == [str(file) for file in files]
    assert study.size == sum(file.stat().st_size for file in files)
    assert await load_study(study) is study


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "bytearray", "memoryview", "dataset"])
@pytest.mark.parametrize("is_alone", [True, False])
async def test_every_kind_of_source_gives_the_same_study(
    tmp_path: Path, kind: str, *, is_alone: bool
) -> None:
    [file] = study_files(tmp_path, instances=1, study_instance_uid="1.2.3")
    content = file.read_bytes()
    sources: dict[str, Any] = {
        "path": file,
        "str": str(file),
        "bytes": content,
        "bytearray": bytearray(content),
        "memoryview": memoryview(content),
        "dataset": pydicom.dcmread(file),
    }
    study = await load_study(sources[kind] if is_alone else [sources[kind]])
    assert study.study_instance_uid == "1.2.3"
    assert study.size == len(content)
    [instance] = study.instances
    assert instance.name == (
        "instance 1" if kind in {"bytes", "bytearray", "memoryview"} else str(file)
    )


async def test_sources_of_several_kinds_make_one_study(tmp_path: Path) -> None:
    one, two, three = study_files(tmp_path, instances=3)
    sources: list[Path | bytes | pydicom.Dataset] = [one, two.read_bytes(), pydicom.dcmread(three)]
    study = await load_study(iter(sources))
    assert len(study.instances) == 3


async def test_a_study_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidStudyError, match="at least one instance"):
        await load_study([])


async def test_instances_of_two_studies_are_refused_and_both_named(tmp_path: Path) -> None:
    [one] = study_files(tmp_path, instances=1, study_instance_uid="1.2.3", seed=1)
    [two] = study_files(tmp_path, instances=1, study_instance_uid="1.2.4", seed=2)
    with pytest.raises(InvalidStudyError) as caught:
        await load_study([one, two])
    message = str(caught.value)
    assert all(text in message for text in (str(one), str(two), "1.2.3", "1.2.4"))
    assert caught.value.source == str(two)


async def test_a_sop_instance_uid_that_comes_twice_is_refused_and_both_named(
    tmp_path: Path,
) -> None:
    one, two = study_files(tmp_path)
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(one.read_bytes())
    with pytest.raises(InvalidStudyError) as caught:
        await load_study([one, two, copy])
    assert str(one) in str(caught.value)
    assert caught.value.source == str(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.dcm", b""),
        ("text.dcm", b"not DICOM at all" * 100),
        ("preamble.dcm", bytes(128) + b"DICM"),
        ("zeros.dcm", bytes(4096)),
    ],
)
async def test_a_file_that_is_not_dicom_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    good = study_files(tmp_path, instances=1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidStudyError, match=name) as caught:
        await load_study([*good, tmp_path / name])
    assert caught.value.source == str(tmp_path / name)
    with pytest.raises(InvalidStudyError, match="instance 2"):
        await load_study([*good, content])


async def test_a_file_that_is_not_whole_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    [file] = study_files(tmp_path, instances=1)
    content = file.read_bytes()
    for length in (len(content) - 1, len(content) // 2, 400, 200, 132):
        file.write_bytes(content[:length])
        with pytest.raises(InvalidStudyError, match=file.name):
            await load_study(file)


async def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, reason in [
        ("missing.dcm", "No such file"),
        ("dangling", "No such file"),
        ("", "is a folder"),
        ("pipe", "not a regular file"),
    ]:
        with pytest.raises(InvalidStudyError, match=reason) as caught:
            await load_study(tmp_path / name)
        assert caught.value.source == str(tmp_path / name)


async def test_a_link_to_a_file_is_sent_as_the_file(tmp_path: Path) -> None:
    [file] = study_files(tmp_path, instances=1)
    (tmp_path / "link").symlink_to(file)
    assert (await load_study(tmp_path / "link")).size == file.stat().st_size


async def test_a_dataset_without_uids_is_refused() -> None:
    with pytest.raises(InvalidStudyError, match=r"instance 1: .*SOPClassUID"):
        await load_study(pydicom.Dataset())


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_what_is_refused_was_not_sent(
    simulator: Simulator, client: MilvueClient, tmp_path: Path, transfer: Transfer
) -> None:
    files = study_files(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(InvalidStudyError):
        await client.post_study([*files, tmp_path / "readme.txt"], transfer=transfer)
    assert simulator.account == {}


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_the_bytes_that_arrive_are_those_of_the_files(
    simulator: Simulator, client: MilvueClient, tmp_path: Path, transfer: Transfer
) -> None:
    files = study_files(tmp_path, instances=3, study_instance_uid="1.2.3")
    files.append(large_instance(tmp_path / "large.dcm", 3, study_instance_uid="1.2.3"))
    files[0].unlink()  # its number is also that of the large one
    await client.post_study(files[1:], transfer=transfer)
    received = simulator.account["1.2.3"].instances
    assert {instance.sha256 for instance in received.values()} == digests(files[1:])
    assert all(instance.received == 1 for instance in received.values())


async def test_real_files_of_odd_encodings_arrive_unchanged(
    simulator: Simulator, client: MilvueClient
) -> None:
    names = ("JPEG2000.dcm", "rtplan.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm", "MR_small_RLE.dcm")
    files = [file for file in pydicom_files() if file.name in names]
    assert len(files) == len(names)
    for file in files:
        await client.post_study(file)
        studies = simulator.account.values()
        received = {i.sha256 for study in studies for i in study.instances.values()}
        assert digests([file]) <= received, file.name


async def test_the_announcement_of_signed_urls_carries_no_pixels(
    tmp_path: Path, token: str
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"message": "seen enough"}, status=400)

    file = large_instance(tmp_path / "large.dcm", 4)
    async with recorder(refuse) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(Exception, match="seen enough"):
            await client.post_study(file, transfer="signed_url")
        [part] = server.last.parts
    assert len(part) < 4096
    sent = pydicom.dcmread(pydicom.filebase.DicomBytesIO(part))
    assert sent.SOPInstanceUID == pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID
    assert sent.Rows == 2048
    assert not sent.PixelData


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("change", ["rewritten", "shortened", "grown", "vanished", "replaced"])
async def test_a_file_that_changed_after_it_was_checked_is_not_sent(
    simulator: Simulator, client: MilvueClient, tmp_path: Path, transfer: Transfer, change: str
) -> None:
    files = study_files(tmp_path)
    study = await load_study(files)
    content = files[1].read_bytes()
    files[1].unlink()
    changed = {
        "rewritten": content[:-2] + b"xx",
        "shortened": content[:-2],
        "grown": content + b"xx",
        "replaced": content,
    }
    if change in changed:
        files[1].write_bytes(changed[change])
    with pytest.raises(InvalidStudyError, match=files[1].name) as caught:
        await client.post_study(study, transfer=transfer)
    assert caught.value.source == str(files[1])
    account = simulator.account.get(study.study_instance_uid)
    assert account is None or account.status is None


async def test_a_file_that_shrinks_while_it_is_sent_breaks_the_upload_off(
    tmp_path: Path, token: str
) -> None:
    file = large_instance(tmp_path / "large.dcm", 32)
    got = 0

    async def shrink(request: web.Request) -> web.Response:
        nonlocal got
        async for chunk in request.content.iter_any():
            got += len(chunk)
            if got > 1 << 20:
                os.truncate(file, 1 << 20)
        return web.json_response({"StudyInstanceUID": "1", "message": "taken for whole"})

    async with (
        recorder(shrink, reads_bodies=False) as server,
        MilvueClient(server.url, token) as client,
    ):
        with pytest.raises(InvalidStudyError, match=r"large\.dcm became shorter"):
            await client.post_study(file)
    assert got < 32 << 20
