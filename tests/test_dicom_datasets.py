"""Datasets read and written through pydicom: nothing is lost, changed, or said aloud."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from milvue_async.dicom import (
    DicomError,
    dataset_to_bytes,
    read_dataset,
    read_header,
    scan_instance,
)
from tests.dicom_files import instance
from tests.test_dicom import ACCEPTED, TEST_FILES, assert_same, join, name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ACCEPTED, ids=name)
def test_a_real_dataset_is_written_unchanged_and_stays_as_it_was(path: Path) -> None:
    dataset = read_dataset(path)
    before = copy.deepcopy(dataset)

    data = dataset_to_bytes(dataset)

    assert [dataset.get_item(tag).is_raw for tag in dataset.keys()] == [  # noqa: SIM118 - tags
        before.get_item(tag).is_raw
        for tag in before.keys()  # noqa: SIM118 - a Dataset iterates over elements
    ]
    assert_same(dataset, before)
    if "PixelData" in dataset:
        kept = before["PixelData"].is_undefined_length
        assert dataset["PixelData"].is_undefined_length is kept
    assert read_header(data) == read_header(path)
    again = read_dataset(data)
    before.file_meta = again.file_meta
    for tag in [tag for tag in before.keys() if tag.element == 0]:  # noqa: SIM118 - tags
        del before[tag]  # a group length is retired, PS3.5 section 7.2
    assert_same(again, before)


def test_a_file_of_which_pydicom_reads_nothing_is_not_an_empty_dataset() -> None:
    data = dataset_to_bytes(instance(study_instance_uid="1.2.3"))
    odd = data[:136] + b"U\0" + data[138:]  # the VR of the group length

    assert read_header(odd) == read_header(data)
    with pytest.raises(DicomError, match=r"^pydicom finds no elements in this file$"):
        read_dataset(odd)


def test_a_dataset_built_in_code_gets_its_file_meta() -> None:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.BitsAllocated = 8
    dataset.PixelData = b"\1\2"
    before = copy.deepcopy(dataset)

    data = dataset_to_bytes(dataset)

    assert data[:132] == bytes(128) + b"DICM"
    meta = read_dataset(data).file_meta
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert not hasattr(dataset, "file_meta")
    assert dataset["PixelData"].VR == before["PixelData"].VR
    assert dataset == before


@pytest.mark.parametrize(
    ("file", "syntax"),
    [
        ("rtdose_1frame.dcm", ImplicitVRLittleEndian),
        ("MR_small_bigendian.dcm", ExplicitVRBigEndian),
        ("CT_small.dcm", ExplicitVRLittleEndian),
    ],
)
def test_a_dataset_that_lost_its_transfer_syntax_keeps_its_encoding(file: str, syntax: UID) -> None:
    dataset = read_dataset(TEST_FILES / file)
    del dataset.file_meta.TransferSyntaxUID

    again = read_dataset(dataset_to_bytes(dataset))

    assert again.file_meta.TransferSyntaxUID == syntax
    assert "TransferSyntaxUID" not in dataset.file_meta
    assert again.PixelData == dataset.PixelData


def test_a_dataset_is_deflated_where_its_transfer_syntax_says_so() -> None:
    dataset = instance(study_instance_uid="1.2.3")
    dataset.PixelData = bytes(2 * 64 * 64)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    data = dataset_to_bytes(dataset)

    assert len(data) < 2 * 64 * 64
    _, literal = scan_instance(data).pixel_less
    assert isinstance(literal, bytes)
    assert len(literal) % 2 == 0
    assert not read_dataset(join(data, scan_instance(data))).PixelData
    again = read_dataset(data)
    assert again.PixelData == dataset.PixelData
    assert again.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian


def test_a_dataset_that_cannot_be_written_is_refused_without_its_values() -> None:
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        dataset = instance(study_instance_uid="1.2.3")
        delattr(dataset, keyword)
        with pytest.raises(DicomError, match=f"^the dataset has no {keyword} "):
            dataset_to_bytes(dataset)

    dataset = instance(study_instance_uid="1.2.3")
    with pytest.warns(UserWarning, match="VR US"):
        dataset.Rows = "Doe^John"
    with pytest.raises(DicomError) as caught:
        dataset_to_bytes(dataset)
    assert str(caught.value) == "pydicom cannot write this dataset: OSError at (0028,0010)"
    assert caught.value.__cause__ is None

    dataset = instance(study_instance_uid="1.2.3")
    dataset.PixelData = b"not encapsulated"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with pytest.raises(DicomError, match=r"^pydicom cannot write this dataset"):
        dataset_to_bytes(dataset)


def test_datasets_in_one_another_beyond_reason_are_not_written() -> None:
    dataset = instance(study_instance_uid="1.2.3")
    inner = dataset
    for _ in range(500):
        inner.ContentSequence = [Dataset()]
        inner = inner.ContentSequence[0]

    with pytest.raises(DicomError, match="RecursionError"):
        dataset_to_bytes(dataset)


def test_what_pydicom_warns_about_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    path = TEST_FILES / "SC_rgb_jpeg.dcm"
    with pytest.warns(UserWarning, match="found implicit VR"):
        pydicom.dcmread(path)
    assert caplog.records
    caplog.clear()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_dataset(path)
        read_dataset(path.read_bytes())
        with pytest.warns(UserWarning, match="found implicit VR"):
            pydicom.dcmread(path)
    assert not caught


def test_other_threads_keep_their_warnings_while_pydicom_works_in_this_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inside, done = threading.Event(), threading.Event()

    class Slow(Dataset):
        def __deepcopy__(self, memo: dict[int, Any] | None) -> Dataset:
            inside.set()
            assert done.wait(10)
            return instance(study_instance_uid="1.2.3")

    written: list[bytes] = []
    worker = threading.Thread(target=lambda: written.append(dataset_to_bytes(Slow())))
    worker.start()
    assert inside.wait(10)
    with pytest.warns(UserWarning, match="found implicit VR"):
        pydicom.dcmread(TEST_FILES / "SC_rgb_jpeg.dcm")
    done.set()
    worker.join()

    assert len(written) == 1
    assert caplog.records
