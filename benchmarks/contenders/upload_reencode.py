"""Upload as the vendor's Python client does, step by step.

One study after the other: its files are parsed, each is encoded anew through pydicom's file
wrapper and read back, the body is put together in memory, and a new connection takes it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pydicom
import requests
from pydicom.filebase import DicomFileLike
from requests_toolbelt import MultipartEncoder  # type: ignore[import-untyped]  # has no types

from benchmarks.contenders.contest import contend

if TYPE_CHECKING:
    from pathlib import Path


def _encoded(dataset: pydicom.Dataset) -> bytes:
    with io.BytesIO() as buffer:
        file = DicomFileLike(buffer)
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
        file.seek(0)
        return bytes(file.read())


def _post(url: str, datasets: list[pydicom.Dataset]) -> None:
    files = [_encoded(dataset) for dataset in datasets]
    fields = [
        (f"file{number}", (f"file{number}", file, "application/dicom"))
        for number, file in enumerate(files)
    ]
    encoder = MultipartEncoder(fields)
    body = encoder.to_string()
    headers = {"Content-Type": f"multipart/related; boundary={encoder.boundary_value}"}
    response = requests.post(f"{url}/v3/studies", data=body, headers=headers, timeout=60)
    response.raise_for_status()
    response.json()


def _upload(url: str, studies: list[list[Path]], _: Path) -> None:
    for study in studies:
        _post(url, [pydicom.dcmread(path) for path in study])


if __name__ == "__main__":
    contend(_upload)
