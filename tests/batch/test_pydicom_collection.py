"""All the files that pydicom carries as one export: as they lie there, and in an archive."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from milvue_async.batch import FileSetAside, process_directory
from tests.dicom_files import pydicom_files

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async import MilvueClient
    from milvue_async.batch import Event
    from milvue_async.simulator import Simulator


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Copies of them, each under a name of its own that tells nothing."""
    folder = tmp_path / "in"
    folder.mkdir()
    copies = [folder / f"file {number}" for number in range(len(pydicom_files()))]
    for original, copy in zip(pydicom_files(), copies, strict=True):
        shutil.copyfile(original, copy)
    return copies


def archive(files: list[Path]) -> None:
    """Put them all into one zip, instead."""
    with zipfile.ZipFile(files[0].parent / "all.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for file in files:
            made.write(file, f"a/{file.name}")
            file.unlink()


@pytest.mark.parametrize("is_archive", [False, True], ids=["directory", "archive"])
async def test_each_file_is_sent_or_set_aside_and_nothing_is_sent_twice(
    simulator: Simulator,
    client: MilvueClient,
    files: list[Path],
    tmp_path: Path,
    *,
    is_archive: bool,
) -> None:
    assert len(files) > 150
    contents = {file.name: file.read_bytes() for file in files}
    indexes = sum(b"1.2.840.10008.1.3.10" in content for content in contents.values())
    assert indexes >= 1
    if is_archive:
        archive(files)
    events: list[Event] = []
    first = await process_directory(
        client, files[0].parent, tmp_path / "out", on_event=events.append
    )
    set_aside = [event.path for event in events if isinstance(event, FileSetAside)]
    assert len(set_aside) == len(set(set_aside)) == len(first.discovery.set_aside)
    account = simulator.account
    rejected = len(first.discovery.studies) - len(account)
    assert first.outcomes == {"done": len(account)} | ({"rejected": rejected} if rejected else {})
    found = sum(len(study.files) for study in first.discovery.studies)
    assert found + len(set_aside) + indexes == len(contents)
    for study in first.discovery.studies:
        for file in study.files:
            sent = account[study.study_instance_uid].instances[file.sop_instance_uid]
            assert (sent.received, sent.size) == (1, file.size)
    second = await process_directory(client, files[0].parent, tmp_path / "out")
    assert second.outcomes == first.outcomes
    assert (second.already_done, second.discovery.files_read) == (len(account), 0)
    assert {each.submissions for each in simulator.account.values()} == {1}
    assert {each.status_polls for each in simulator.account.values()} == {1}
