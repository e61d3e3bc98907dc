"""DICOM files for tests: generated ones, and the real ones that pydicom installs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

__all__ = ["instance", "large_instance", "pydicom_files", "study_files"]

_MEBIBYTE = 1024 * 1024
_PIXEL_HEADER = b"\xe0\x7f\x10\x00OW\0\0"  # (7FE0,0010), OW, reserved: PS3.5 section 7.1.2


def pydicom_files() -> list[Path]:
    """Every file pydicom carries that is DICOM, or pretends to be: some 190, sorted by path."""
    root = Path(pydicom.__file__).parent / "data"
    no_dicom = {".py", ".pyc", ".json", ".txt", ".md", ".dump", ".icc", ".gz"}
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and path.suffix not in no_dicom and path.name != "README"
    )


def instance(
    *,
    study_instance_uid: str,
    number: int = 1,
    rows: int = 64,
    columns: int = 64,
    modality: str = "DX",
) -> FileDataset:
    """A DX instance without pixels, explicit VR little endian; its UIDs depend on the arguments."""
    series_instance_uid = generate_uid(entropy_srcs=[study_instance_uid, modality])
    sop_instance_uid = generate_uid(entropy_srcs=[study_instance_uid, modality, str(number)])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = sop_instance_uid
    dataset.StudyInstanceUID = study_instance_uid
    dataset.SeriesInstanceUID = series_instance_uid
    dataset.PatientName = "Test^Phantom"
    dataset.PatientID = "PHANTOM"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "O"
    dataset.StudyDate = "20250102"
    dataset.StudyTime = "030405"
    dataset.AccessionNumber = "A1"
    dataset.StudyID = "1"
    dataset.Modality = modality
    dataset.BodyPartExamined = "WRIST"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = number
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = rows
    dataset.Columns = columns
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter = "2048"
    dataset.WindowWidth = "4096"
    return dataset


def study_files(
    folder: Path,
    *,
    instances: int = 2,
    rows: int = 64,
    columns: int = 64,
    study_instance_uid: str | None = None,
    modality: str = "DX",
    seed: int = 0,
) -> list[Path]:
    """Write one study into ``folder`` (made where absent) and return its files.

    The files are the same for the same arguments: explicit VR little endian, 12-bit pixels. The
    StudyInstanceUID comes from ``seed`` where none is given, so another seed is another study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = study_instance_uid or generate_uid(entropy_srcs=["study", str(seed)])
    random = np.random.default_rng(seed)
    paths = []
    for number in range(1, instances + 1):
        dataset = instance(
            study_instance_uid=study, number=number, rows=rows, columns=columns, modality=modality
        )
        pixels = random.integers(0, 4096, size=(rows, columns), dtype=np.uint16)
        dataset.PixelData = pixels.astype("<u2").tobytes()
        path = folder / f"{modality}-{seed}-{number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def large_instance(path: Path, megabytes: int, *, study_instance_uid: str | None = None) -> Path:
    """Write a DX instance with ``megabytes`` MiB of pixels to ``path``, 1 MiB in memory at a time.

    Its image is 1024 columns wide and 512 rows a MiB; at most 127 MiB, because Rows is 16 bits.
    """
    study = study_instance_uid or generate_uid(entropy_srcs=["large", path.name])
    dataset = instance(study_instance_uid=study, rows=512 * megabytes, columns=1024)
    dataset.save_as(path, enforce_file_format=True)
    block = bytes(range(0, 256, 2)) * (_MEBIBYTE // 128)
    with path.open("ab") as file:
        file.write(_PIXEL_HEADER + (megabytes * _MEBIBYTE).to_bytes(4, "little"))
        for _ in range(megabytes):
            file.write(block)
    return path
