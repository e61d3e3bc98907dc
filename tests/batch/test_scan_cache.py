"""The scan cache: what has not changed is not opened again, and nothing of a patient is kept."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from milvue_async.batch.discovery import Discovery, discover
from milvue_async.batch.filters import Filters
from milvue_async.batch.scan_cache import ScanCache
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """As the ledger opens its own."""
    with closing(
        sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False)
    ) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies, one in an archive, a copy, a DICOMDIR's place taken by text, and odd names."""
    root = tmp_path / "in"
    first, second = study_files(root / "a", study_instance_uid="1.2.1")
    (root / os.fsdecode(b"copy\xff")).write_bytes(first.read_bytes())
    (root / "text").write_text("no DICOM")
    second.rename(root / os.fsdecode(b"odd\n\xfe"))
    members = study_files(tmp_path / "made", study_instance_uid="1.2.2")
    with zipfile.ZipFile(root / "zip", "w") as archive:
        for number, member in enumerate(members):
            archive.write(member, f"IM{number}")
        archive.writestr("text", "no DICOM")
    return root


def _same(one: Discovery, two: Discovery) -> bool:
    return (one.studies, one.set_aside) == (two.studies, two.set_aside)


async def test_what_is_known_is_not_read_again_and_comes_out_the_same(
    folder: Path, connection: sqlite3.Connection
) -> None:
    first = await discover(folder, cache=ScanCache(connection))
    again = await discover(folder, cache=ScanCache(connection))
    assert _same(first, again)
    assert (first.files_read, first.files_known) == (5, 0)
    assert (again.files_read, again.files_known) == (0, 5)
    assert len(first.studies) == 2
    assert len(first.set_aside) == 3


async def test_a_file_that_looks_unchanged_is_not_opened(
    folder: Path, connection: sqlite3.Connection
) -> None:
    first = await discover(folder, cache=ScanCache(connection))
    _empty(folder)
    assert _same(first, await discover(folder, cache=ScanCache(connection)))


def _empty(folder: Path) -> None:
    """Overwrite all files with zeros, so that they look unchanged."""
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            path.write_bytes(bytes(status.st_size))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", ["size", "mtime"])
async def test_a_file_that_changed_is_read_again(
    folder: Path, connection: sqlite3.Connection, change: str
) -> None:
    await discover(folder, cache=ScanCache(connection))
    path = folder / "a" / "DX-0-1.dcm"
    status = path.stat()
    path.write_bytes(bytes(status.st_size + (change == "size")))
    later = status.st_mtime_ns + (change == "mtime")
    os.utime(path, ns=(later, later))
    again = await discover(folder, cache=ScanCache(connection))
    assert (again.files_read, again.files_known) == (1, 4)
    assert str(path) in {file.path for file in again.set_aside}
    assert (await discover(folder, cache=ScanCache(connection))).files_known == 5


async def test_files_that_are_gone_are_forgotten(
    folder: Path, connection: sqlite3.Connection
) -> None:
    await discover(folder, cache=ScanCache(connection))
    (folder / "zip").unlink()
    (folder / os.fsdecode(b"odd\n\xfe")).unlink()
    found = await discover(folder, cache=ScanCache(connection))
    assert (found.files_read, found.files_known) == (0, 3)
    assert len(found.studies) == 1
    assert len(ScanCache(connection).load(Filters().text)) == 3


async def test_other_filters_read_anew(folder: Path, connection: sqlite3.Connection) -> None:
    filters = Filters.parse(["PatientID=PHANTOM"], ["StudyDate~^1999"])
    await discover(folder, cache=ScanCache(connection))
    filtered = await discover(folder, filters=filters, cache=ScanCache(connection))
    again = await discover(folder, filters=filters, cache=ScanCache(connection))
    assert (filtered.files_read, again.files_read) == (5, 0)
    assert _same(filtered, again)
    none = Filters.parse([], ["PatientID=PHANTOM"])
    left_out = await discover(folder, filters=none, cache=ScanCache(connection))
    known = await discover(folder, filters=none, cache=ScanCache(connection))
    assert left_out.studies == []
    assert known.files_known == 5
    assert _same(left_out, known)
    assert sum(file.is_filtered for file in known.set_aside) == 5


async def test_nothing_of_a_patient_is_kept(
    folder: Path, tmp_path: Path, connection: sqlite3.Connection
) -> None:
    filters = Filters.parse(["PatientName=Test^Phantom", "PatientBirthDate~^1970"], [])
    found = await discover(folder, filters=filters, cache=ScanCache(connection))
    assert len(found.studies) == 2
    connection.close()
    kept = (tmp_path / "db").read_bytes()
    assert b"1.2.1" in kept
    for value in (b"Phantom", b"PHANTOM", b"1970", b"20250102"):
        assert value not in kept


async def test_a_copy_is_compared_once(folder: Path, connection: sqlite3.Connection) -> None:
    """A second copy comes later, and the first file is not hashed again for it."""
    await discover(folder, cache=ScanCache(connection))
    original = folder / "a" / "DX-0-1.dcm"
    content, status = original.read_bytes(), original.stat()
    original.write_bytes(bytes(len(content)))
    os.utime(original, ns=(status.st_atime_ns, status.st_mtime_ns))
    (folder / "second copy").write_bytes(content)
    found = await discover(folder, cache=ScanCache(connection))
    assert (found.files_read, found.files_known) == (1, 5)
    repeats = [file.reason for file in found.set_aside if "repeats" in file.reason]
    assert len(repeats) == 2
    assert all(reason.endswith("with the same content") for reason in repeats)


async def test_a_cache_that_cannot_be_used_only_costs_time(
    folder: Path, tmp_path: Path, connection: sqlite3.Connection
) -> None:
    expected = await discover(folder)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with closing(
        sqlite3.connect(
            f"file:{tmp_path / 'db'}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    ) as read_only:
        for unusable in (connection, read_only):
            found = await discover(folder, cache=ScanCache(unusable))
            assert _same(found, expected)
            assert found.files_read == 5


async def test_a_disk_that_is_full_leaves_the_cache_as_it_was(
    folder: Path, connection: sqlite3.Connection
) -> None:
    cache = ScanCache(connection)
    await discover(folder, cache=cache)
    [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    study_files(folder / "more", instances=50, study_instance_uid="1.2.3")
    for _ in range(2):
        found = await discover(folder, cache=cache)
        assert (found.files_read, found.files_known) == (50, 5)
    assert not connection.in_transaction
