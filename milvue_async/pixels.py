"""What an image looks like: one frame of a DICOM file, as 8-bit pixels to be shown.

This is for pictures in a report, not for a diagnosis. It needs numpy, and pillow for what is
compressed by JPEG or JPEG 2000: import it where both may be missing only when it is used.

Every function blocks: from a coroutine, call it in a worker thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

from milvue_async.dicom import (
    DicomError,
    read_dataset,
    through_pydicom,
)
from milvue_async.protocol.uids import is_uid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

__all__ = ["Picture", "decode_picture", "derived_from"]

_MAX_FILE = 1 << 28  # bytes; a file is held in memory as a whole
_MAX_FRAME = 1 << 27  # bytes, decoded; that of a chest X-ray has 2 ** 25
_SAMPLES = 3
_COLOUR_DIMENSIONS = 3  # rows, columns, samples
_SHOWN_PERCENTILES = (0.5, 99.5)  # where nothing says what to show


@dataclass(frozen=True, slots=True)
class Picture:
    """What a frame looks like.

    Attributes:
        pixels: Shape (rows, columns) for grey, (rows, columns, 3) for RGB.
        rows: Height of the whole image in pixels; that of ``pixels`` may be less.
        columns: Width of the whole image in pixels.
    """

    pixels: NDArray[np.uint8]
    rows: int
    columns: int


def decode_picture(source: Path, least_side: int) -> Picture:
    """Decode the middle frame of an image and show it as its header asks for (PS3.3 C.11, C.7.6.3).

    Modality LUT or rescale, then window or VOI LUT, then inversion; a palette and YBR become RGB.
    Where a header asks for nothing, or for what leaves nothing to see, the bulk of the values
    spreads from black to white.

    Args:
        source: A DICOM file of at most 256 MiB.
        least_side: The longest side of the picture has at least as many pixels, where the image
            has: neighbours are averaged while twice as many remain.

    Raises:
        DicomError: It is no whole DICOM file, too large, has no pixels, or they cannot be decoded.
        OSError: It cannot be read.
    """
    if source.stat().st_size > _MAX_FILE:
        raise DicomError(f"a picture is made of at most {_MAX_FILE >> 20} MiB")
    dataset = read_dataset(source)
    with through_pydicom("decode the pixels"):
        if _frame_bytes(dataset) > _MAX_FRAME:
            raise DicomError(f"a picture is made of at most {_MAX_FRAME >> 20} MiB of pixels")
        frames = max(1, int(dataset.get("NumberOfFrames") or 1))
        values = pixel_array(dataset, index=(frames - 1) // 2)
        rows, columns = values.shape[:2]
        step = max(1, max(rows, columns) // (2 * least_side))
        return Picture(_shown(values, dataset, step), rows, columns)


def derived_from(source: Path) -> tuple[str, ...]:
    """SOPInstanceUIDs of the images that a result shows (Source Image Sequence).

    There are none where the result is no image.

    Raises:
        DicomError: It is no whole DICOM file, or too large.
        OSError: It cannot be read.
    """
    if source.stat().st_size > _MAX_FILE:
        raise DicomError(f"a picture is made of at most {_MAX_FILE >> 20} MiB")
    dataset = read_dataset(source)
    with through_pydicom("read its references"):
        items = (dataset.get("SourceImageSequence") or ()) if "Rows" in dataset else ()
        uids = (str(item.get("ReferencedSOPInstanceUID")) for item in items)
        return tuple(uid for uid in uids if is_uid(uid))


def _frame_bytes(dataset: Dataset) -> int:
    if "Rows" not in dataset or "Columns" not in dataset:
        raise DicomError("no pixels")
    bits = int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("BitsAllocated") or 64)
    return int(dataset.Rows) * int(dataset.Columns) * bits // 8


def _shown(values: NDArray[Any], dataset: Dataset, step: int) -> NDArray[np.uint8]:
    photometric = str(dataset.get("PhotometricInterpretation"))
    if photometric == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(values[::step, ::step], dataset)[..., :_SAMPLES])
    if values.ndim == _COLOUR_DIMENSIONS:
        return _eight_bits(_averaged(values, step), int(dataset.get("BitsStored") or 8))
    grey = _windowed(apply_modality_lut(_averaged(values, step), dataset), dataset)
    is_inverse = dataset.get("PresentationLUTShape") == "INVERSE"
    return 255 - grey if photometric == "MONOCHROME1" or is_inverse else grey


def _averaged(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Means of ``step`` by ``step`` neighbours, as integers again: lookup tables index by them."""
    if step == 1:
        return values
    rows, columns = (size - size % step for size in values.shape[:2])
    offsets = [(row, column) for row in range(step) for column in range(step)]
    total = np.zeros_like(values[0:rows:step, 0:columns:step], dtype=np.float64)
    for row, column in offsets:
        total += values[row:rows:step, column:columns:step]
    mean = total / len(offsets)
    return mean if values.dtype.kind == "f" else np.rint(mean).astype(values.dtype)


def _eight_bits(values: NDArray[Any], bits: int | None = None) -> NDArray[np.uint8]:
    spare = max(0, (bits or 8 * values.dtype.itemsize) - 8)
    return np.ascontiguousarray(values >> spare, dtype=np.uint8)


def _windowed(values: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    center, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if center is None or width is None or width <= 0:
        return _looked_up(values, dataset)
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    grey = _spread(values, center, width, function)
    return grey if _is_visible(grey, values) else _stretched(values)


def _spread(values: NDArray[Any], center: float, width: float, function: str) -> NDArray[np.uint8]:
    """The window functions of PS3.3 C.11.2.1.2 and C.11.2.1.3, from 0 to 255."""
    offset = values.astype(np.float32) - np.float32(center)
    if function == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * offset / width, -80, 80)))
    elif function == "LINEAR_EXACT":
        share = offset / width + 0.5
    else:
        share = (offset + 0.5) / max(width - 1, 1e-6) + 0.5
    return _to_bytes(share)


def _looked_up(values: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    if not dataset.get("VOILUTSequence") or values.dtype.kind == "f":
        return _stretched(values)
    shown = apply_voi(values, dataset)
    return _stretched(shown, (0, 100)) if _is_visible(shown, values) else _stretched(values)


def _is_visible(shown: NDArray[Any], values: NDArray[Any]) -> bool:
    """Whether there is something to see, where the values have something to show."""
    return bool(shown.min() < shown.max() or values.min() == values.max())


def _stretched(
    values: NDArray[Any], percentiles: tuple[float, float] = _SHOWN_PERCENTILES
) -> NDArray[np.uint8]:
    finite = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(finite, percentiles)
    if high <= low:
        low, high = finite.min(), finite.max()
    return _to_bytes((finite - low) / max(float(high - low), 1e-6))


def _to_bytes(share: NDArray[Any]) -> NDArray[np.uint8]:
    """From 0 to 1 as from 0 to 255; what lies outside is clipped."""
    grey: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(share), 0, 1) * 255).astype(np.uint8)
    return grey


def _first(dataset: Dataset, keyword: str) -> float | None:
    """The first value of an element, where it is a finite number."""
    value = dataset.get(keyword)
    first = value[0] if isinstance(value, list) or hasattr(value, "__getitem__") else value
    try:
        number = float(first)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
