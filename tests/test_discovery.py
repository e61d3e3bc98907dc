"""A directory becomes studies, whatever lies in it; what is not sent is set aside with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from milvue_async import ConfigurationError, load_study
from milvue_async.batch.discovery import discover
from tests.dicom_files import pydicom_files, study_files

PYDICOM = pydicom_files()


async def test_every_real_file_is_in_a_study_or_set_aside_with_a_reason() -> None:
    seen = 0

    def count(files: int) -> None:
        nonlocal seen
        seen += files

    found = await discover(Path(os.path.commonpath(PYDICOM)), on_files=count)
    sent = [instance.name for study in found.studies for instance in study.instances]
    aside = {str(file.path): file.reason for file in found.set_aside}
    assert len(set(sent)) == len(sent)
    assert not set(sent) & set(aside)
    assert {*sent, *aside} >= {str(path) for path in PYDICOM}
    assert seen == len(sent) + len(aside)
    assert len(sent) > 100
    assert all(reason and len(reason.splitlines()) == 1 for reason in aside.values())
    assert not any(path in reason for path, reason in aside.items())
    for study in found.studies:
        assert await load_study([instance.name for instance in study.instances]) == study


async def test_instances_are_grouped_by_study_wherever_they_lie(tmp_path: Path) -> None:
    one = study_files(tmp_path / "a" / "b", instances=3, study_instance_uid="1.2.1")
    two = study_files(tmp_path / "a", instances=2, study_instance_uid="1.2.2", seed=5)
    one[1].rename(tmp_path / "z.dcm")
    found = await discover(tmp_path)
    grouped = {
        study.study_instance_uid: [instance.name for instance in study.instances]
        for study in found.studies
    }
    assert list(grouped) == ["1.2.2", "1.2.1"], "in the order of their first files"
    assert grouped["1.2.1"] == [str(one[0]), str(one[2]), str(tmp_path / "z.dcm")]
    assert grouped["1.2.2"] == [str(file) for file in two]
    assert found.set_aside == []


@pytest.mark.parametrize(
    "name",
    [
        b"no extension",
        b"IM000001",
        b"with.txt",
        b".hidden",
        b"-rf",
        b"=cmd()",
        "gré\u2028à\u0085.dcm".encode(),
        b"not\xffutf8\xfe.dcm",
        b"a\nb\r\nc.dcm",
        b"a,b\"c'd.dcm",
        b"x" * 250,
    ],
)
async def test_a_file_is_known_by_its_content_whatever_its_name(
    tmp_path: Path, name: bytes
) -> None:
    [file] = study_files(tmp_path, instances=1)
    odd = tmp_path / os.fsdecode(name)
    file.rename(odd)
    found = await discover(tmp_path)
    assert [instance.name for study in found.studies for instance in study.instances] == [str(odd)]


async def test_what_cannot_be_sent_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    study_files(tmp_path, instances=1)
    (tmp_path / "empty").touch()
    (tmp_path / "notes.txt").write_text("hello" * 100)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = await discover(tmp_path)
    reasons = {file.path.name: file.reason for file in found.set_aside}
    assert set(reasons) == {"empty", "notes.txt", "dangling", "pipe"}
    assert reasons["dangling"] == "cannot be read (No such file or directory)"
    assert reasons["pipe"] == "not a regular file"
    assert len(found.studies) == 1


async def test_of_files_with_the_same_uid_the_first_is_sent(tmp_path: Path) -> None:
    [file] = study_files(tmp_path / "b", instances=1)
    content = file.read_bytes()
    (tmp_path / "c-same").write_bytes(content)
    (tmp_path / "d-other").write_bytes(content[:-1] + b"\x01")
    found = await discover(tmp_path)
    [study] = found.studies
    assert [instance.name for instance in study.instances] == [str(file)]
    assert {each.path.name: each.reason for each in found.set_aside} == {
        "c-same": f"repeats the SOPInstanceUID of {file}, with the same content",
        "d-other": f"repeats the SOPInstanceUID of {file}, with other content",
    }


@pytest.mark.parametrize("way", ["plain", "dots", "link"])
async def test_a_folder_that_is_excluded_is_left_out(tmp_path: Path, way: str) -> None:
    study_files(tmp_path / "in", study_instance_uid="1.2.1")
    study_files(tmp_path / "in" / "out", study_instance_uid="1.2.2")
    excluded = {
        "plain": tmp_path / "in" / "out",
        "dots": tmp_path / "in" / "missing" / ".." / "out",
        "link": tmp_path / "link",
    }[way]
    (tmp_path / "link").symlink_to(tmp_path / "in" / "out")
    found = await discover(tmp_path / "in", excluded=[excluded])
    assert [study.study_instance_uid for study in found.studies] == ["1.2.1"]
    assert found.set_aside == []


async def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    study_files(tmp_path / "in", study_instance_uid="1.2.1")
    study_files(tmp_path / "elsewhere", study_instance_uid="1.2.2")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    found = await discover(tmp_path / "in")
    assert [study.study_instance_uid for study in found.studies] == ["1.2.1"]


async def test_a_folder_cannot_hold_its_own_results(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="its own results"):
        await discover(tmp_path, excluded=[tmp_path / "x" / ".."])


async def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(ConfigurationError, match=name):
            await discover(tmp_path / name)


async def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    found = await discover(tmp_path)
    assert (found.studies, found.set_aside) == ([], [])


async def test_a_folder_that_cannot_be_listed_is_set_aside_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    """Its path is longer than the system takes, so it can only be reached step by step."""
    study_files(tmp_path)
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    found = await discover(tmp_path)
    [aside] = found.set_aside
    assert aside.reason == "cannot be listed (File name too long)"
    assert aside.path.is_relative_to(tmp_path / ("d" * 250))
    assert len(found.studies) == 1
