"""Images of the original's size and depth, with the marks burned into their values.

They are plain Secondary Capture Images (PS3.3 section A.8.1), because that is the one class whose
pixels may be what the source's are: 1 to 32 bits, signed or not, MONOCHROME1, a palette, colour.
The multi-frame word captures (section A.8.4) allow only unsigned MONOCHROME2 of 9 to 16 bits, and
a derived Digital X-Ray (section A.26) wants attributes of an acquisition that a CT, an ultrasound
image or a capture has not. ``dciodvfy`` finds no error in one made from any of pydicom's images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from highdicom.base import SOPClass
from PIL import Image, ImageDraw
from pydicom.pixels.utils import pack_bits
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from milvue_async.simulator.objects.attributes import numbers, text
from milvue_async.simulator.objects.captures import derive
from milvue_async.simulator.objects.lettering import draw_mark, fitting_size, font, wrap
from milvue_async.simulator.objects.pixels import look_up
from milvue_async.simulator.objects.wording import DISCLAIMER, disclaimers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from milvue_async.simulator.objects.identity import Maker
    from milvue_async.simulator.objects.marks import Mark
    from milvue_async.simulator.objects.pixels import Frame
    from milvue_async.simulator.objects.subjects import ImageSubject

__all__ = ["highbit"]

_LOSSY = {  # transfer syntax to LossyImageCompressionMethod (PS3.3 section C.7.6.1.1.5.1)
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
_LUMA = (0.299, 0.587, 0.114)


def highbit(maker: Maker, number: int, subject: ImageSubject) -> Dataset:
    """The first frame of a source with its marks and the disclaimer burned in.

    Marks are as bright as the brightest pixel, texts stand on what is as dark as the darkest.

    Args:
        maker: Identifies it.
        number: Its number among those of its kind, from 1.
        subject: The image and its marks.
    """
    frame, source = subject.frame, subject.dataset
    result = SOPClass(
        study_instance_uid=subject.origin.reference.study_instance_uid,
        sop_class_uid=SecondaryCaptureImageStorage,
        modality="OT",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **maker.arguments(subject, "highbit", number),
    )
    derive(result, subject.references)
    values = _whole_numbers(frame.values, result)
    dark, bright = _extremes(values, frame, source)
    background, foreground = _stencils(frame, subject.marks, maker.parameters.language)
    burned = values.copy()
    burned[background] = dark
    burned[foreground] = bright
    _describe_pixels(result, burned, frame, source)
    _describe_presentation(result, frame, source)
    _describe_losses(result, frame, source)
    return maker.finish(result, subject)


def _whole_numbers(values: NDArray[np.generic], result: Dataset) -> NDArray[Any]:
    """The values; those of a float image as 16 bits, with the rescaling that brings them back."""
    if values.dtype.kind != "f":
        return values
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    slope = (high - low) / 0xFFFF if high > low else 1.0
    result.RescaleIntercept, result.RescaleSlope = f"{low:.9g}"[:16], f"{slope:.9g}"[:16]
    result.RescaleType = "US"
    return np.rint((finite - low) / slope).astype(np.uint16)


def _extremes(values: NDArray[Any], frame: Frame, source: Dataset) -> tuple[Any, Any]:
    """Stored values that look dark and bright."""
    if frame.photometric == "PALETTE COLOR":
        return _palette(frame, source).extremes()
    if frame.photometric == "RGB":
        return 0, (1 << frame.bits_stored) - 1
    low, high = int(values.min()), int(values.max())
    if low == high:  # marks on an even image must be of another value, which fits into its bits
        signed = int(values.dtype.kind == "i")
        greatest = (1 << (frame.bits_stored - signed)) - 1
        low, high = (low, low + 1) if low < greatest else (low - 1, low)
    return (high, low) if frame.photometric == "MONOCHROME1" else (low, high)


@dataclass(frozen=True, slots=True)
class _Palette:
    """The stored values that a palette has colours for, and those colours, of 8 or 16 bits."""

    indices: NDArray[Any]
    colours: NDArray[Any]
    bits: int

    def extremes(self) -> tuple[Any, Any]:
        """The darkest and the brightest of the stored values."""
        luminance = self.colours @ np.array(_LUMA)
        return self.indices[luminance.argmin()], self.indices[luminance.argmax()]

    def describe(self, result: Dataset) -> None:
        """The Palette Color Lookup Table module (PS3.3 section C.7.9), written out in full."""
        for column, colour in enumerate(("Red", "Green", "Blue")):
            entries = self.colours[:, column].astype(f"<u{self.bits // 8}").tobytes()
            descriptor = [len(self.indices) % (1 << 16), int(self.indices[0]), self.bits]
            setattr(result, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
            padded = entries + b"\0" * (len(entries) % 2)
            setattr(result, f"{colour}PaletteColorLookupTableData", padded)


def _palette(frame: Frame, source: Dataset) -> _Palette:
    entries, first, _ = source.RedPaletteColorLookupTableDescriptor
    last = min(first + (entries or 1 << 16), 1 << frame.bits_stored)
    indices = np.arange(max(first, 0), last).astype(frame.values.dtype)
    colours, bits = look_up(indices[np.newaxis], source)
    return _Palette(indices, colours[0], bits)


def _stencils(
    frame: Frame, marks: Sequence[Mark], language: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pixels are to be dark, and which bright."""
    shape = (frame.columns, frame.rows)
    background, foreground = Image.new("1", shape), Image.new("1", shape)
    behind, pen = ImageDraw.Draw(background), ImageDraw.Draw(foreground)
    width = max(1, max(shape) // 400)
    for mark in marks:
        draw_mark(pen, mark, step=1, width=width, ink=1, origin=(0, 0))
    size = fitting_size(DISCLAIMER, frame.columns, smallest=6, largest=max(8, frame.columns // 45))
    top = 0
    for text_ in (*disclaimers(language), *(mark.text for mark in marks)):
        for line in wrap(text_, size, frame.columns):
            right = font(size).getlength(line)
            behind.rectangle((0, top, right, top + size + size // 3), fill=1)
            pen.text((0, top), line, font=font(size), fill=1)
            top += size + size // 3
    return np.asarray(background), np.asarray(foreground)


def _describe_pixels(result: Dataset, values: NDArray[Any], frame: Frame, source: Dataset) -> None:
    """The Image Pixel module (PS3.3 section C.7.6.3)."""
    result.Rows, result.Columns = frame.rows, frame.columns
    result.SamplesPerPixel = 3 if frame.photometric == "RGB" else 1
    if result.SamplesPerPixel > 1:
        result.PlanarConfiguration = 0
    result.PhotometricInterpretation = frame.photometric
    bit = source.get("BitsAllocated") == 1
    result.BitsAllocated = 1 if bit else 8 * values.dtype.itemsize
    result.BitsStored = 1 if bit else min(frame.bits_stored, result.BitsAllocated)
    result.HighBit = result.BitsStored - 1
    result.PixelRepresentation = int(values.dtype.kind == "i")
    if frame.photometric == "PALETTE COLOR":
        _palette(frame, source).describe(result)
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    pixels = pack_bits(little) if bit else little.tobytes()
    result.PixelData = pixels + b"\0" * (len(pixels) % 2)
    result["PixelData"].VR = "OB" if result.BitsAllocated in {1, 8} else "OW"  # PS3.5 section A.2


def _describe_presentation(result: Dataset, frame: Frame, source: Dataset) -> None:
    """Rescaling and window (PS3.3 sections C.11.1, C.11.2), and how far pixels are apart."""
    spacing = numbers(source, "PixelSpacing")
    if len(spacing) == 2 and min(spacing) > 0:  # noqa: PLR2004  between rows, between columns
        result.PixelSpacing = [_decimal(value) for value in spacing]
    if not frame.photometric.startswith("MONOCHROME"):
        return
    slope, intercept = numbers(source, "RescaleSlope"), numbers(source, "RescaleIntercept")
    if len(slope) == len(intercept) == 1 and slope[0] and "RescaleSlope" not in result:
        result.RescaleSlope, result.RescaleIntercept = _decimal(slope[0]), _decimal(intercept[0])
        result.RescaleType = "HU" if text(source, "Modality").strip() == "CT" else "US"
    centres, widths = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
    if centres and len(centres) == len(widths) and min(widths) >= 1:
        result.WindowCenter = [_decimal(value) for value in centres]
        result.WindowWidth = [_decimal(value) for value in widths]


def _decimal(value: float) -> str:
    """A decimal string (PS3.5 section 6.2)."""
    return f"{value:.10g}"[:16]


def _describe_losses(result: Dataset, frame: Frame, source: Dataset) -> None:
    """What an earlier lossy compression took away stays lost (PS3.3 section C.7.6.1.1.5)."""
    meta = getattr(source, "file_meta", {})
    method = _LOSSY.get(str(meta.get("TransferSyntaxUID", "")))
    lossy = method or text(source, "LossyImageCompression").strip() == "01"
    result.LossyImageCompression = "01" if lossy else "00"
    if not lossy:
        return
    ratios = numbers(source, "LossyImageCompressionRatio")
    if not ratios:
        ratios = [frame.values.nbytes / max(1, len(source.get("PixelData", b"")))]
    result.LossyImageCompressionRatio = [_decimal(value) for value in ratios]
    result.LossyImageCompressionMethod = method or "ISO_10918_1"
