"""Reading and writing DICOM files, on the real ones that pydicom installs."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvue_async.dicom import (
    DicomError,
    ScannedInstance,
    dataset_to_bytes,
    read_dataset,
    read_header,
    scan_instance,
)
from tests.dicom_files import instance, large_instance, pydicom_files, study_files

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def accepted_files() -> list[Path]:
    """The real files that can be sent, by the verdict of the code under test."""
    accepted = []
    for path in pydicom_files():
        try:
            read_header(path)
        except DicomError:
            continue
        accepted.append(path)
    return accepted


def name(path: Path) -> str:
    return str(path.relative_to(TEST_FILES.parent))


ACCEPTED = accepted_files()
REFUSED = [path for path in pydicom_files() if path not in ACCEPTED]


def join(data: bytes, scanned: ScannedInstance) -> bytes:
    """The pixel-less file, put together from the runs of the whole one."""
    return b"".join(
        part if isinstance(part, bytes) else data[part.offset : part.offset + part.length]
        for part in scanned.pixel_less
    )


def assert_same(one: Dataset, other: Dataset) -> None:
    """Equal elements and file meta; comparing decodes values, and odd ones make pydicom warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert one == other
        assert getattr(one, "file_meta", None) == getattr(other, "file_meta", None)


def test_nearly_all_real_files_with_a_study_are_accepted() -> None:
    assert len(ACCEPTED) > 150
    assert len(ACCEPTED) + len(REFUSED) == len(pydicom_files())


@pytest.mark.parametrize("path", REFUSED, ids=name)
def test_a_real_file_is_refused_only_for_a_reason_that_pydicom_confirms(path: Path) -> None:
    with pytest.raises(DicomError) as caught:
        scan_instance(path)

    reason = str(caught.value)
    if reason.startswith("not a DICOM Part 10 file"):
        with pytest.raises(pydicom.errors.InvalidDicomError):
            pydicom.dcmread(path)
        return
    dataset = pydicom.dcmread(path)
    if reason.startswith("a DICOMDIR"):
        assert dataset.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10"
    elif reason.startswith("no "):
        keyword = reason.split()[1]
        assert keyword not in dataset
        assert keyword not in dataset.file_meta
    else:
        assert reason.startswith("truncated: ")
        assert path.name in {"MR_truncated.dcm", "rtplan_truncated.dcm"}


@pytest.mark.parametrize("path", ACCEPTED, ids=name)
def test_the_header_of_a_real_file_is_what_pydicom_reads(path: Path) -> None:
    header = read_header(path)

    dataset = read_dataset(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert header.study_instance_uid == dataset.StudyInstanceUID
        assert header.series_instance_uid == dataset.get("SeriesInstanceUID", "")
        assert header.sop_instance_uid == dataset.SOPInstanceUID
        assert header.sop_class_uid == dataset.SOPClassUID
        assert header.modality == dataset.get("Modality", "")
        assert header.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("path", ACCEPTED, ids=name)
def test_a_pixel_less_copy_of_a_real_file_differs_in_its_pixel_data_alone(path: Path) -> None:
    data = path.read_bytes()
    scanned = scan_instance(path)
    copied = join(data, scanned)

    whole, pixel_less = read_dataset(data), read_dataset(copied)
    had_pixels = [keyword for keyword in PIXELS if keyword in whole]
    for keyword in had_pixels:
        assert pixel_less[keyword].VR == whole[keyword].VR
        assert not pixel_less[keyword].value
        del whole[keyword], pixel_less[keyword]
    assert_same(whole, pixel_less)
    assert scanned.size == len(data)
    assert scanned.header == read_header(copied) == read_header(data)
    assert (copied == data) is not bool(had_pixels)
    assert scan_instance(data) == scanned


def boundaries(data: bytes) -> set[int]:
    """Where top-level elements begin, from pydicom's own offsets of their values."""
    dataset = read_dataset(data)
    found = set()
    for tag in dataset.keys():  # noqa: SIM118 - a Dataset iterates over elements
        element: Any = dataset.get_item(tag)
        implicit = dataset.original_encoding[0]
        long_vr = not implicit and element.VR in {"OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC"}
        tell = element.value_tell if element.is_raw else element.file_tell
        found.add(tell - (12 if long_vr else 8))
    return found


CUT_FILES = {
    "explicit little endian": "CT_small.dcm",
    "implicit little endian": "rtdose_1frame.dcm",
    "explicit big endian": "MR_small_bigendian.dcm",
    "implicit in explicit": "SC_rgb_jpeg.dcm",
    "encapsulated, one fragment": "MR_small_jp2klossless.dcm",
    "encapsulated, many fragments": "SC_rgb_rle_2frame.dcm",
    "nested sequences": "test-SR.dcm",
    "defined-length sequences": "rtplan.dcm",
    "an ECG": "waveform_ecg.dcm",
}


@pytest.mark.parametrize("file", CUT_FILES.values(), ids=CUT_FILES.keys())
def test_a_real_file_cut_anywhere_but_between_top_level_elements_is_refused(file: str) -> None:
    data = (TEST_FILES / file).read_bytes()
    between, header = boundaries(data), read_header(data)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, len(data) - 1) | st.sampled_from(sorted(between)))
    def check(cut: int) -> None:
        try:
            scanned = scan_instance(data[:cut])
        except DicomError:
            return
        assert cut in between  # an element may then be missing, which nothing in a file tells
        assert scanned.header.sop_instance_uid == header.sop_instance_uid
        assert scanned.header.study_instance_uid == header.study_instance_uid

    check()


@pytest.mark.parametrize("file", ["MR_small_RLE.dcm", "CT_small.dcm", "MR_small_bigendian.dcm"])
def test_a_cut_within_the_pixel_data_is_always_refused_and_says_so(file: str) -> None:
    data = (TEST_FILES / file).read_bytes()
    first, second, *_ = (part for part in scan_instance(data).pixel_less)
    assert not isinstance(first, bytes)
    assert isinstance(second, bytes)
    start = first.length + len(second)
    end = start + len(read_dataset(data)["PixelData"].value)

    for cut in (*range(start, end, 997), end - 1):
        with pytest.raises(DicomError, match=r"^truncated: PixelData \(7FE0,0010\) "):
            scan_instance(data[:cut])


def test_a_small_file_cut_at_every_byte_is_refused_or_read_the_same(tmp_path: Path) -> None:
    data = study_files(tmp_path, instances=1, rows=8, columns=8)[0].read_bytes()
    between, study = boundaries(data), data.index(b"\x20\0\x0d\0UI")

    accepted = set()
    for cut in range(len(data)):
        with suppress(DicomError):
            read_header(data[:cut])
            accepted.add(cut)
    assert accepted == {offset for offset in between if offset > study}


def test_a_deflated_file_cut_anywhere_in_its_stream_is_refused() -> None:
    data = (TEST_FILES / "image_dfl.dcm").read_bytes()  # eight bytes of a gzip trailer end it

    for cut in range(len(data) - 9):
        with pytest.raises(DicomError):
            scan_instance(data[:cut])
    assert scan_instance(data[:-8]).header == read_header(data)
    with pytest.raises(DicomError, match="followed by other bytes"):
        scan_instance(data[:-1])


def test_the_reason_for_a_truncated_file_names_the_lengths(tmp_path: Path) -> None:
    path = study_files(tmp_path, instances=1, rows=512, columns=512)[0]
    path.write_bytes(path.read_bytes()[: -512 * 512])

    expected = r"^truncated: PixelData \(7FE0,0010\) declares 524288 bytes, 262144 are there$"
    for check in (scan_instance, read_header, read_dataset):
        with pytest.raises(DicomError, match=expected):
            check(path)


@pytest.mark.parametrize(
    "file", ["test-SR.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "image_dfl.dcm", "JPEG2000.dcm"]
)
def test_a_damaged_file_is_refused_or_consistent_and_never_crashes(file: str) -> None:
    data = (TEST_FILES / file).read_bytes()
    position = st.integers(0, min(len(data), 4096) - 1) | st.integers(0, len(data) - 1)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(position, st.binary(min_size=1, max_size=4)), min_size=1, max_size=8))
    def check(changes: list[tuple[int, bytes]]) -> None:
        damaged = bytearray(data)
        for start, change in changes:
            damaged[start : start + len(change)] = change
        source = bytes(damaged)
        with suppress(DicomError):
            read_dataset(source)
        try:
            scanned = scan_instance(source)
        except DicomError:
            return
        copied = join(source, scanned)
        assert scan_instance(copied).header == scanned.header
        assert join(copied, scan_instance(copied)) == copied

    check()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.sampled_from(["", ".1", ".2", ".1.99", ".4.50"]))
def test_any_bytes_after_a_sound_file_meta_are_refused(data: bytes, syntax: str) -> None:
    uid = f"1.2.840.10008.1.2{syntax}".encode()
    uid += bytes(len(uid) % 2)
    meta = b"\2\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid

    with pytest.raises(DicomError):
        scan_instance(bytes(128) + b"DICM" + meta + data)


def test_a_large_file_is_checked_without_reading_its_pixels(tmp_path: Path) -> None:
    path = large_instance(tmp_path / "large.dcm", 3)
    header_size = path.stat().st_size - 3 * 1024 * 1024
    grown = tmp_path / "sparse.dcm"
    with grown.open("wb") as file:  # 3 GiB of pixels that take no room on the disk
        file.write(path.read_bytes()[: header_size - 4] + (3 << 30).to_bytes(4, "little"))
        file.truncate(header_size + (3 << 30))

    scanned = scan_instance(grown)

    assert scanned.size == header_size + (3 << 30)
    assert sum(p.length for p in scanned.pixel_less if not isinstance(p, bytes)) == header_size - 4


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DicomError, match=r"^not a regular file$"):
            scan_instance(path)
    with pytest.raises(FileNotFoundError):
        scan_instance(tmp_path / "absent.dcm")


def encoded(**changes: Any) -> bytes:
    """A small instance with these attributes changed; None takes one out."""
    dataset = instance(study_instance_uid="1.2.3")
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                setattr(dataset, keyword, value)
    return dataset_to_bytes(dataset)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID", "SeriesInstanceUID"])
def test_an_invalid_uid_is_refused_and_its_value_is_not_shown(keyword: str) -> None:
    for value in ("../../etc/passwd", "Doe^John", "1..2", "1" * 65):
        with pytest.raises(DicomError) as caught:
            scan_instance(encoded(**{keyword: value}))
        assert str(caught.value).startswith(f"{keyword} (")
        assert "is not a DICOM UID" in str(caught.value)
        assert value not in str(caught.value)


def test_padding_of_a_uid_is_removed() -> None:
    data = encoded(StudyInstanceUID="1.2.3.4")

    for padding in (b"\0", b" "):
        padded = data.replace(b"1.2.3.4\0", b"1.2.3" + 3 * padding)
        assert read_header(padded).study_instance_uid == "1.2.3"


def test_a_file_without_its_study_or_instance_uid_is_refused() -> None:
    data = encoded()
    for tag, keyword in ((b"\x20\0\x0d\0", "StudyInstanceUID"), (b"\x08\0\x18\0", "SOPInstance")):
        with pytest.raises(DicomError, match=f"^no {keyword}"):
            scan_instance(data.replace(tag, tag[:2] + b"\x1f\0"))


def test_attributes_that_may_be_absent_are_empty() -> None:
    header = read_header(encoded(SeriesInstanceUID=None, Modality=None))

    assert header.series_instance_uid == ""
    assert header.modality == ""
    assert read_header(encoded(Modality="\x1b[31mred")).modality == ""


def test_the_uids_of_the_dataset_win_over_those_of_the_file_meta() -> None:
    dataset = instance(study_instance_uid="1.2.3")
    meta_uid = str(dataset.file_meta.MediaStorageSOPInstanceUID)
    data = encoded()
    start = data.index(b"\x08\0\x18\0")
    other = meta_uid[:-1] + ("1" if meta_uid[-1] != "1" else "2")
    data = data[:start] + data[start:].replace(meta_uid.encode(), other.encode())

    assert read_header(data).sop_instance_uid == other
    no_class = data[: start - 8 - 28] + data[start - 8 - 28 :].replace(
        b"\x08\0\x16\0UI", b"\x08\0\x17\0UI"
    )
    assert read_header(no_class).sop_class_uid == dataset.SOPClassUID
