"""Received instances as what predictions and results are made from.

With `milvue_async.dicom` and `milvue_async.simulator.objects` this is where pydicom is touched.
Everything here blocks; it runs in worker threads.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from pydicom.dataset import Dataset

from milvue_async.dicom import DicomError, read_dataset
from milvue_async.simulator.objects.pixels import decode
from milvue_async.simulator.predictions import Image

if TYPE_CHECKING:
    from milvue_async.simulator.bodies import Instance

__all__ = ["describe", "read"]


def read(instance: Instance) -> Dataset:
    """The dataset of a received instance; its UIDs alone where pydicom cannot read the file."""
    try:
        return read_dataset(instance.path)
    except DicomError:
        dataset = Dataset()
    dataset.StudyInstanceUID = instance.study_instance_uid
    dataset.SeriesInstanceUID = instance.series_instance_uid
    dataset.SOPInstanceUID = instance.sop_instance_uid
    dataset.SOPClassUID = instance.sop_class_uid
    return dataset


def describe(instance: Instance) -> Image:
    """What predictions of a received instance are made from: its size and its pixels' digest."""
    dataset = read(instance)
    raw = dataset.get("PixelData") or dataset.get("FloatPixelData") or b""
    frame = decode(dataset) if raw else None
    kind: Literal["drawable", "undecodable", "none"] = "undecodable" if raw else "none"
    if frame is not None:
        kind = "drawable"
    return Image(
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        kind=kind,
        rows=0 if frame is None else frame.rows,
        columns=0 if frame is None else frame.columns,
        spacing=None if frame is None else _spacing(dataset),
        digest=hashlib.sha256(raw).hexdigest() if raw else instance.sha256,
    )


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Millimetres between rows and between columns (PS3.3 section 10.7), where usable."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            rows, columns = (float(value) for value in dataset.get(keyword) or ())
        except (TypeError, ValueError):
            continue
        if rows > 0 and columns > 0:
            return rows, columns
    return None
