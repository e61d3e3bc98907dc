"""Processes that read files: one may die of a file, and all end with the discovery."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from milvue_async.batch.discovery import Discovery, discover
from milvue_async.batch.filters import Filters
from milvue_async.batch.readers import reader_command
from tests.dicom_files import instance, study_files

if TYPE_CHECKING:
    from collections.abc import Iterator

_ITEMS = 1_000_000  # take a second or more to follow
_SOON = 0.001


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two studies, and among their files one that takes long to read."""
    root = tmp_path / "in"
    study_files(root / "a", study_instance_uid="1.2.1")
    study_files(root / "z", study_instance_uid="1.2.2")
    instance(study_instance_uid="1.2.3").save_as(root / "long", enforce_file_format=True)
    with (root / "long").open("ab") as file:
        file.write(b"\x99\x00\x00\x10SQ\0\0" + (8 * _ITEMS).to_bytes(4, "little"))
        file.write(b"\xfe\xff\x00\xe0\0\0\0\0" * _ITEMS)
    return root


def _readers() -> Iterator[int]:
    """Children of this process that read files."""
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            with contextlib.suppress(OSError):
                if b"scanning" in Path("/proc", child, "cmdline").read_bytes():
                    yield int(child)


def _reader_of(path: Path) -> int | None:
    for reader in _readers():
        with contextlib.suppress(OSError):
            for descriptor in Path("/proc", str(reader), "fd").iterdir():
                if os.readlink(descriptor) == str(path):  # noqa: PTH115  it is compared as a str
                    return reader
    return None


async def _wait_for_reader_of(path: Path) -> int:
    while (reader := _reader_of(path)) is None:  # noqa: ASYNC110  nobody tells when it is opened
        await anyio.sleep(_SOON)
    return reader


async def test_a_file_that_kills_its_reader_is_set_aside_and_the_others_are_read(
    folder: Path,
) -> None:
    killed: set[int] = set()

    async def kill() -> None:
        while True:
            reader = await _wait_for_reader_of(folder / "long")
            if reader not in killed:
                killed.add(reader)
                os.kill(reader, signal.SIGKILL)
            await anyio.sleep(_SOON)

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        found = await discover(folder, processes=1)
        group.cancel_scope.cancel()
    assert len(killed) == 2, "once among others, once for itself"
    assert [study.study_instance_uid for study in found.studies] == ["1.2.1", "1.2.2"]
    assert [(aside.path, aside.reason) for aside in found.set_aside] == [
        (
            str(folder / "long"),
            "cannot be read (the process that read it was killed by signal 9)",
        )
    ]
    assert list(_readers()) == []


async def test_a_reader_killed_by_chance_costs_nothing(folder: Path) -> None:
    async def kill() -> None:
        os.kill(await _wait_for_reader_of(folder / "long"), signal.SIGKILL)

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        found = await discover(folder, processes=2)
    assert len(found.studies) == 3
    assert found.set_aside == []


async def test_cancellation_leaves_no_process(folder: Path) -> None:
    study_files(folder / "many", instances=100, study_instance_uid="1.2.4")
    before = sorted(folder.rglob("*"))  # noqa: ASYNC240  a small folder
    async with anyio.create_task_group() as group:
        group.start_soon(discover_with_two, folder)
        reader = await _wait_for_reader_of(folder / "long")
        group.cancel_scope.cancel()
    assert list(_readers()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(reader, 0)
    assert sorted(folder.rglob("*")) == before  # noqa: ASYNC240  the same


async def discover_with_two(folder: Path) -> Discovery:
    return await discover(folder, processes=2)


async def test_an_error_of_the_caller_ends_the_readers_and_is_raised_as_itself(
    tmp_path: Path,
) -> None:
    study_files(tmp_path)

    def fail(files: int, _total: int) -> None:
        if files:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await discover(tmp_path, processes=1, on_progress=fail)
    assert list(_readers()) == []


async def test_an_interrupt_of_the_terminal_is_not_for_the_readers(folder: Path) -> None:
    async def interrupt() -> None:
        reader = await _wait_for_reader_of(folder / "long")
        assert os.getpgid(reader) != os.getpgid(0)
        os.kill(reader, signal.SIGINT)

    async with anyio.create_task_group() as group:
        group.start_soon(interrupt)
        found = await discover(folder, processes=1)
    assert len(found.studies) == 3


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/false"])
async def test_where_no_process_can_be_started_a_thread_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    study_files(tmp_path, instances=100)
    monkeypatch.setattr(sys, "executable", executable)
    found = await discover(tmp_path, processes=2)
    assert [len(study.files) for study in found.studies] == [100]


async def test_a_frozen_program_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_files(tmp_path)
    started = tmp_path / "started"
    program = tmp_path / "program"
    await anyio.Path(program).write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    found = await discover(tmp_path, processes=1)
    assert len(found.studies) == 1
    assert not started.exists()


async def test_a_suspect_is_not_read_here_where_no_further_process_can_be_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What killed a process could kill this one."""

    async def kill() -> None:
        reader = await _wait_for_reader_of(folder / "long")
        monkeypatch.setattr(sys, "executable", "")
        os.kill(reader, signal.SIGKILL)

    async with anyio.create_task_group() as group:
        group.start_soon(kill)
        found = await discover(folder, processes=1)
    assert found.studies == []
    assert {aside.reason for aside in found.set_aside} == {
        "cannot be read (a process that read it died)"
    }


async def test_a_reader_imports_neither_the_client_nor_pydicom(tmp_path: Path) -> None:
    [file] = study_files(tmp_path, instances=1)
    questions = f'{Filters().text}\n[["{file}", {file.stat().st_size}, 0]]\n'
    done = await anyio.run_process(
        reader_command(), input=questions.encode(), env={"PYTHONPROFILEIMPORTTIME": "1"}
    )
    ready, answer = done.stdout.splitlines()
    assert ready == b'"ready"'
    assert b"1.2" in answer
    imported = {line.rpartition(b"|")[2].strip() for line in done.stderr.splitlines()}
    assert b"milvue_async.batch.scanning" in imported
    assert not imported & {b"aiohttp", b"anyio", b"asyncio", b"pydantic", b"pydicom", b"numpy"}
