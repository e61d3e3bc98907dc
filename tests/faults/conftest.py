"""The scene of each test, and a watch over what is logged in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from pydicom.uid import UID

from milvue_async.dicom import dataset_to_bytes
from tests import dicom_files
from tests.faults.server import FaultServer
from tests.faults.support import KEY, SIGNATURE, STUDY_UID, FakeClock, Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def content() -> bytes:
    """The bytes of the one instance of the study."""
    dataset = dicom_files.instance(study_instance_uid=STUDY_UID)
    dataset.SOPInstanceUID = f"{STUDY_UID}.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.PixelData = bytes(64 * 64 * 2)
    return dataset_to_bytes(dataset)


@pytest.fixture
async def scene(tmp_path: Path, content: bytes) -> AsyncIterator[Scene]:
    """A working API, a host that must not be asked, and a study to send."""
    file = tmp_path / "study" / "1.dcm"
    file.parent.mkdir()
    file.write_bytes(content)
    folder = tmp_path / "results"
    folder.mkdir()
    async with FaultServer() as api, FaultServer() as elsewhere:
        scene = Scene(api, elsewhere, FakeClock(), folder, [file], content)
        scene.serve()
        yield scene


@pytest.fixture(autouse=True)
def _nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        text = f"{record.getMessage()} {record.args!r} {record.exc_info!r} {record.exc_text}"
        assert KEY not in text
        assert SIGNATURE not in text
