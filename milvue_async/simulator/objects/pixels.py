"""The first frame of a source: its stored values, and the picture they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

__all__ = ["Frame", "Picture", "decode", "look_up", "picture_of"]

_MAX_DECODED = 1 << 28  # bytes of one frame; that of a chest X-ray has 2 ** 25
_MAX_SIDE = 2048  # pixels of a picture's longest side
_COLOUR_DIMENSIONS = 3  # rows, columns, samples
_SAMPLES = 3
_GREY = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True, slots=True)
class Frame:
    """Stored values, as they were before any transformation but that of YBR to RGB.

    Attributes:
        values: Shape (rows, columns), or (rows, columns, 3); in the machine's byte order.
        photometric: ``MONOCHROME1``, ``MONOCHROME2``, ``PALETTE COLOR`` or ``RGB``.
        bits_stored: Bits of each value that are used.
    """

    values: NDArray[np.generic]
    photometric: str
    bits_stored: int

    @property
    def rows(self) -> int:
        """Height in pixels."""
        return int(self.values.shape[0])

    @property
    def columns(self) -> int:
        """Width in pixels."""
        return int(self.values.shape[1])


@dataclass(frozen=True, slots=True)
class Picture:
    """What a frame looks like.

    Attributes:
        pixels: RGB of 8 bits, shape (rows, columns, 3), at most 2048 a side.
        step: Which pixels of the source those are: every one, every second, and so on.
    """

    pixels: NDArray[np.uint8]
    step: int


def decode(source: Dataset) -> Frame | None:
    """The first frame of a dataset; None where there is none that can be decoded."""
    try:
        if _decoded_bytes(source) > _MAX_DECODED:
            return None
        values = pixel_array(source, index=0)
        return _frame(values.astype(values.dtype.newbyteorder("="), copy=False), source)
    except Exception:  # noqa: BLE001  real files fail in any way; the result says so instead
        return None


def picture_of(frame: Frame, source: Dataset) -> Picture:
    """What a frame looks like, with the window and the lookup tables of its dataset."""
    step = -(-max(frame.values.shape[:2]) // _MAX_SIDE)
    values = frame.values[::step, ::step]
    if frame.photometric == "PALETTE COLOR":
        return Picture(_eight_bits(*look_up(values, source)), step)
    if frame.photometric == "RGB":
        return Picture(_eight_bits(values, frame.bits_stored), step)
    grey = _stretched(_windowed(values, source))
    if frame.photometric == "MONOCHROME1":
        grey = 255 - grey
    return Picture(np.repeat(grey[:, :, np.newaxis], _SAMPLES, axis=2), step)


def look_up(values: NDArray[np.generic], source: Dataset) -> tuple[NDArray[np.generic], int]:
    """The colours that the palette of a dataset gives to stored values (rows, columns).

    Returns:
        Colours, shape (rows, columns, 3), and how many of their bits are used: 8 or 16.
    """
    colours = apply_color_lut(values, source)[..., :_SAMPLES]
    bits = int(source.RedPaletteColorLookupTableDescriptor[2])
    return colours, min(bits, 8 * colours.dtype.itemsize)


def _frame(values: NDArray[np.generic], source: Dataset) -> Frame:
    photometric = str(source.PhotometricInterpretation)
    if values.ndim == _COLOUR_DIMENSIONS:  # pydicom decodes one sample or three, no others
        photometric = "RGB"
    elif photometric == "PALETTE COLOR":
        look_up(values[:1, :1], source)  # fails where there is no usable palette
    elif photometric not in _GREY:
        photometric = "MONOCHROME2"
    return Frame(values, photometric, _bits_stored(values, source))


def _bits_stored(values: NDArray[np.generic], source: Dataset) -> int:
    """BitsStored, or more where a value does not fit into them."""
    whole = 8 * values.dtype.itemsize
    bits = min(int(source.get("BitsStored") or whole), whole)
    if values.dtype.kind == "f":
        return whole
    sign = int(values.dtype.kind == "i")
    lowest, highest = int(values.min()), int(values.max())
    needed = sign + max(highest, -1 - lowest if sign else 0).bit_length()
    return max(bits, needed)


def _decoded_bytes(source: Dataset) -> int:
    samples = int(source.get("SamplesPerPixel", 1)) * int(source.get("BitsAllocated", 64))
    return int(source.Rows) * int(source.Columns) * samples // 8


def _eight_bits(values: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values.astype(np.uint32) >> max(0, bits - 8), dtype=np.uint8)


def _windowed(values: NDArray[np.generic], source: Dataset) -> NDArray[np.generic]:
    try:
        return apply_voi_lut(apply_modality_lut(values, source), source, prefer_lut=False)
    except Exception:  # noqa: BLE001  a width of 0, a table that is too short: shown without
        return values


def _stretched(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The values from least to greatest as 0 to 255."""
    finite = np.nan_to_num(values.astype(np.float32))
    low, high = float(finite.min()), float(finite.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return ((finite - low) * scale).astype(np.uint8)
