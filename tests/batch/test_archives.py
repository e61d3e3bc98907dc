"""Zip archives: members are read and taken out, and nothing an archive says is believed."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest

from milvue_async import InvalidStudyError
from milvue_async.batch.archives import ArchiveError, Member, extract, is_archive, read_members
from milvue_async.batch.discovery import discover
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async.batch.found import FoundFile

_METHOD_AT = {b"PK\3\4": 8, b"PK\1\2": 10}
_FLAGS_AT = {b"PK\3\4": 6, b"PK\1\2": 8}


def _archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _patch(path: Path, places: dict[bytes, int], value: int) -> None:
    """Set a field of 16 bits in the first local and the first central header."""
    content = bytearray(path.read_bytes())
    for signature, offset in places.items():
        struct.pack_into("<H", content, content.index(signature) + offset, value)
    path.write_bytes(content)


def _reasons(path: Path) -> dict[str, str]:
    return {member.name: member.reason for member in read_members(path)}


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def _found(path: Path) -> FoundFile:
    found = await discover(path.parent)
    return found.studies[0].files[0]


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """A DICOM file, whose own folder is gone."""
    [file] = study_files(tmp_path / "made", instances=1)
    whole = file.read_bytes()
    file.unlink()
    file.parent.rmdir()
    return whole


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_whatever_their_names(tmp_path: Path, content: bytes, method: int) -> None:
    members = {"a/IM1": content, "../../evil": content * 40, "gré\n.txt": b"text", "/empty": b""}
    path = _archive(tmp_path / "any name", members, method)
    assert is_archive(path)
    assert list(read_members(path)) == [
        Member(name, len(each), each, "") for name, each in members.items()
    ]


def test_a_folder_in_an_archive_is_no_member(tmp_path: Path, content: bytes) -> None:
    path = _archive(tmp_path / "zip", {"folder/": b"", "folder/IM1": content, "odd/": b"content"})
    assert _reasons(path) == {
        "folder/IM1": "",
        "odd/": "a folder by its name, and yet it has content",
    }


def test_what_other_programs_put_before_and_after_an_archive_does_not_matter(
    tmp_path: Path, content: bytes
) -> None:
    path = _archive(tmp_path / "zip", {"IM1": content})
    path.write_bytes(b"PK\3\4 is how it begins" + path.read_bytes())
    assert [member.content for member in read_members(path)] == [content]


def test_an_archive_written_as_a_stream_is_read(tmp_path: Path, content: bytes) -> None:
    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes are all it gets
            self.written += bytes(data)
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IM1", content)
    (tmp_path / "zip").write_bytes(stream.written)
    assert [member.content for member in read_members(tmp_path / "zip")] == [content]


def test_an_archive_within_an_archive_is_not_taken(tmp_path: Path, content: bytes) -> None:
    inner = _archive(tmp_path / "inner", {"IM1": content}).read_bytes()
    path = _archive(tmp_path / "zip", {"inner.zip": inner, "IM1": content})
    assert _reasons(path) == {
        "inner.zip": "a zip archive within a zip archive: unpack the outer one",
        "IM1": "",
    }


def test_an_encrypted_member_is_not_taken(tmp_path: Path, content: bytes) -> None:
    path = _archive(tmp_path / "zip", {"IM1": content, "IM2": content})
    _patch(path, _FLAGS_AT, 1)
    assert _reasons(path) == {
        "IM1": "encrypted: unpack the archive with its password",
        "IM2": "",
    }


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_bounded_are_not_taken(
    tmp_path: Path, content: bytes, method: int
) -> None:
    path = _archive(tmp_path / "zip", {"IM1": content}, method)
    assert "not by deflate" in _reasons(path)["IM1"]


def test_what_inflates_absurdly_is_not_inflated(tmp_path: Path, content: bytes) -> None:
    path = _archive(tmp_path / "zip", {"zeros": bytes(1 << 23), "small": bytes(1 << 19)})
    assert _reasons(path) == {
        "zeros": "inflates to more than 200 times its size, as no image does",
        "small": "",
    }
    _archive(path, {"IM1": content})
    whole = bytearray(path.read_bytes())
    central = whole.index(b"PK\1\2")
    struct.pack_into("<LL", whole, central + 20, 1 << 27, 1 << 30)
    path.write_bytes(whole)
    with pytest.raises(ArchiveError, match="overlap"):
        list(read_members(path))


def test_members_that_overlap_are_not_taken(tmp_path: Path) -> None:
    """A small archive could else have any number of large members."""
    noise = os.urandom(5000)
    path = _archive(tmp_path / "zip", {"a1": noise, "a2": noise, "a3": noise})
    whole = bytearray(path.read_bytes())
    first, end = whole.index(b"PK\3\4", 1), whole.index(b"PK\1\2")
    del whole[first:end]  # all but the first
    at = whole.index(b"PK\1\2")
    for _ in range(3):
        struct.pack_into("<L", whole, at + 42, 0)
        at = whole.find(b"PK\1\2", at + 1)
    end_record = whole.index(b"PK\5\6")
    struct.pack_into("<L", whole, end_record + 16, whole.index(b"PK\1\2"))
    path.write_bytes(whole)
    with pytest.raises(ArchiveError, match="overlap"):
        list(read_members(path))


def test_names_that_come_twice_are_not_taken(tmp_path: Path, content: bytes) -> None:
    path = _archive(tmp_path / "zip", {"IM1": content, "IM2": b"other"})
    path.write_bytes(path.read_bytes().replace(b"IM2", b"IM1"))
    with pytest.raises(ArchiveError, match="of the same name"):
        list(read_members(path))


def test_a_damaged_member_is_set_aside_and_the_others_are_taken(
    tmp_path: Path, content: bytes
) -> None:
    members = {"IM1": content, "IM2": content, "IM3": content}
    path = _archive(tmp_path / "zip", members, zipfile.ZIP_STORED)
    whole = bytearray(path.read_bytes())
    whole[2000] ^= 1  # a pixel of the first
    whole[whole.index(b"PK\3\4", 1)] = 0  # the header of the second
    path.write_bytes(whole)
    assert _reasons(path) == {
        "IM1": "damaged: its length or its checksum is not what the archive says",
        "IM2": "damaged: it is not where the archive says",
        "IM3": "",
    }


def test_a_deflate_stream_that_is_none_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = _archive(tmp_path / "zip", {"IM1": content})
    whole = bytearray(path.read_bytes())
    whole[33:37] = b"\xff" * 4
    path.write_bytes(whole)
    assert _reasons(path)["IM1"].startswith("damaged")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_member_of_another_size_than_it_says_is_not_taken(
    tmp_path: Path, content: bytes, method: int, change: int
) -> None:
    path = _archive(tmp_path / "zip", {"IM1": content}, method)
    whole = bytearray(path.read_bytes())
    struct.pack_into("<L", whole, whole.index(b"PK\1\2") + 24, len(content) + change)
    path.write_bytes(whole)
    how = "inflates to more than" if change < 0 else "its length or its checksum"
    assert how in _reasons(path)["IM1"]


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, content: bytes) -> None:
    whole = _archive(tmp_path / "zip", {"IM1": content}).read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path = tmp_path / f"{length}"
        path.write_bytes(whole[:length])
        with pytest.raises(ArchiveError, match="damaged or cut short"):
            list(read_members(path))


def test_an_archive_without_files_says_so(tmp_path: Path) -> None:
    path = _archive(tmp_path / "zip", {"folder/": b""})
    with pytest.raises(ArchiveError, match="without files"):
        list(read_members(path))


async def test_a_member_is_taken_out_as_a_private_file(tmp_path: Path, content: bytes) -> None:
    path = _archive(tmp_path / "in.zip", {"x/../../../evil": content})
    file = await _found(path)
    assert (file.name, file.size) == (f"{path}!x/../../../evil", len(content))
    out = tmp_path / "out"
    out.mkdir()
    taken = extract(file, out)
    assert taken.parent == out
    assert taken.read_bytes() == content
    assert stat.S_IMODE(taken.stat().st_mode) == 0o600
    assert _names(out) == [taken.name]


async def test_nothing_is_taken_out_of_an_archive_that_changed(
    tmp_path: Path, content: bytes
) -> None:
    path = _archive(tmp_path / "in.zip", {"IM1": content})
    file = await _found(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(InvalidStudyError, match="the archive changed") as raised:
        extract(file, tmp_path)
    assert raised.value.source == file.name
    path.unlink()
    with pytest.raises(InvalidStudyError, match="cannot be read \\(No such file"):
        extract(file, tmp_path)
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("gone", "no longer in the archive"),
        ("larger", "has 4096 bytes, where"),
        ("damaged", "damaged"),
        ("encrypted", "encrypted"),
    ],
)
async def test_a_member_that_cannot_be_taken_out_leaves_nothing(
    tmp_path: Path, content: bytes, what: str, reason: str
) -> None:
    """The archive is another one, and looks the same from outside."""
    path = _archive(tmp_path / "in.zip", {"IM1": content}, zipfile.ZIP_STORED)
    file = await _found(path)
    if what in {"gone", "larger"}:
        name = "IM1" if what == "larger" else "IM9"
        _archive(path, {name: bytes(4096)}, zipfile.ZIP_STORED)
    elif what == "encrypted":
        _patch(path, _FLAGS_AT, 1)
    else:
        path.write_bytes(path.read_bytes().replace(b"WRIST", b"waist"))
    path.write_bytes(path.read_bytes().ljust(file.file_size, b"\0"))
    os.utime(path, ns=(file.mtime_ns + 1, file.mtime_ns + 1))
    changed = type(file)(
        path=file.path,
        member=file.member,
        size=file.size,
        file_size=path.stat().st_size,
        mtime_ns=path.stat().st_mtime_ns,
        sop_instance_uid=file.sop_instance_uid,
        series_instance_uid=file.series_instance_uid,
        modality=file.modality,
    )
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InvalidStudyError, match=reason):
        extract(changed, out)
    assert _names(out) == []
