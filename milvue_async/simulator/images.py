"""Pictures: received instances decoded to 8 bits, and predictions drawn on them.

With `milvue_async.simulator.captures` and `milvue_async.dicom` this is where pydicom is touched:
it decodes the pixels of a dataset that `milvue_async.dicom` read. Everything here blocks; it
runs in worker threads.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from milvue_async.dicom import DicomError, read_dataset
from milvue_async.protocol.models import PathoLabelEnum
from milvue_async.simulator.predictions import Image, find, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from milvue_async.simulator.bodies import Instance

__all__ = ["DISCLAIMER", "Source", "draw", "load"]

DISCLAIMER = "SIMULATED - NOT FOR DIAGNOSTIC USE"

_MAX_DECODED = 1 << 28  # bytes of one frame; that of a chest X-ray has 2 ** 25
_MAX_SIDE = 2048  # pixels of a drawn image's longest side
_MIN_WIDTH = 320  # pixels, so that the disclaimer can be read
_PAGE_SHAPE = (512, 512, 3)
_PAGE_GREY = 96
_COLOURS = {PathoLabelEnum.ABNORMAL: (255, 48, 48), PathoLabelEnum.DOUBT: (255, 176, 0)}
_LINE_COLOUR = (0, 224, 255)
_TEXT_COLOUR = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Source:
    """An instance as it was received.

    Attributes:
        instance: Where it is and which one it is.
        image: What predictions are made from.
        dataset: Its dataset; empty where pydicom cannot read the file.
        pixels: The first frame in 8 bits, shape (rows, columns, 3), at most 2048 a side; None
            where it cannot be drawn.
        step: Which pixels of the source those are: every one, every second, and so on.
    """

    instance: Instance
    image: Image
    dataset: Dataset
    pixels: NDArray[np.uint8] | None
    step: int


def load(instance: Instance) -> Source:
    """Read a received instance, and decode its first frame where that can be done."""
    dataset = _dataset(instance)
    raw = dataset.get("PixelData") or dataset.get("FloatPixelData") or b""
    pixels, step = _decode(dataset) if raw else (None, 1)
    kind: Literal["drawable", "undecodable", "none"] = "undecodable" if raw else "none"
    rows = columns = 0
    if pixels is not None:
        kind, rows, columns = "drawable", int(dataset.Rows), int(dataset.Columns)
    image = Image(
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        kind=kind,
        rows=rows,
        columns=columns,
        spacing=_spacing(dataset) if kind == "drawable" else None,
        digest=hashlib.sha256(raw).hexdigest() if raw else instance.sha256,
    )
    return Source(instance, image, dataset, pixels, step)


def draw(source: Source, command: str, language: str) -> NDArray[np.uint8]:
    """A picture of the source with a command's predictions burned in.

    The image lies at the top left, so that coordinates of a prediction, divided by
    ``source.step``, are those of the picture; texts stand below it.

    Returns:
        RGB, shape (rows, columns, 3).
    """
    if source.pixels is None:
        texts = ["The source image could not be drawn"]
        return _captioned(np.full(_PAGE_SHAPE, _PAGE_GREY, np.uint8), texts)
    canvas = Pillow.fromarray(source.pixels)
    pen = _Pen(canvas, source.step, language)
    mark = pen.measures if command == "smartxpert" else pen.boxes
    texts = mark(source.image)
    return _captioned(np.asarray(canvas), texts)


class _Pen:
    """Draws the predictions of one image."""

    def __init__(self, canvas: Pillow.Image, step: int, language: str) -> None:
        self._draw = ImageDraw.Draw(canvas)
        self._step = step
        self._language = language
        self._width = max(2, max(canvas.size) // 300)

    def boxes(self, image: Image) -> list[str]:
        """Draw the boxes of smarturgences; return a line of text for each."""
        texts = []
        for box in find(image).bounding_boxes:
            corners = [value // self._step for value in (*box.top_left, *box.bottom_right)]
            self._draw.rectangle(corners, outline=_COLOURS[box.label], width=self._width)
            texts.append(f"{getattr(box.translation, self._language)} {box.score:.2f}")
        return texts

    def measures(self, image: Image) -> list[str]:
        """Draw the lines of smartxpert; return a line of text for each measure."""
        texts = []
        for value in measure(image).measures:
            for line in value.lines:
                ends = [coordinate // self._step for coordinate in line]
                self._draw.line(ends, fill=_LINE_COLOUR, width=self._width)
                for x, y in (ends[:2], ends[2:]):
                    self._draw.circle((x, y), self._width, fill=_LINE_COLOUR)
            name = getattr(value.translation, self._language)
            texts.append(f"{name} {value.measure:.1f} {value.unit}")
        return texts


def _captioned(picture: NDArray[np.uint8], texts: list[str]) -> NDArray[np.uint8]:
    """The picture with the disclaimer and ``texts`` on a black strip below it."""
    height, width = picture.shape[:2]
    width = max(width, _MIN_WIDTH)
    lines = [DISCLAIMER, *(_latin(text) for text in texts)]
    size = max(12, width // 40)  # pixels; the longest line takes three quarters of the width
    font = ImageFont.load_default(size)
    page = Pillow.new("RGB", (width, height + len(lines) * 2 * size))
    page.paste(Pillow.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        pen.text((4, height + number * 2 * size), line, font=font, fill=_TEXT_COLOUR)
    return np.asarray(page)


def _latin(text: str) -> str:
    """The text without accents, which the font that comes with Pillow lacks."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return decomposed.encode("ascii", "ignore").decode("ascii")


def _dataset(instance: Instance) -> Dataset:
    try:
        return read_dataset(instance.path)
    except DicomError:
        return Dataset()


def _decode(dataset: Dataset) -> tuple[NDArray[np.uint8] | None, int]:
    """The first frame as RGB of at most `_MAX_SIDE`, and the step between its pixels."""
    try:
        if _decoded_bytes(dataset) > _MAX_DECODED:
            return None, 1
        frame = pixel_array(dataset, index=0)
        step = -(-max(frame.shape[:2]) // _MAX_SIDE)
        return _to_rgb(frame[::step, ::step], dataset), step
    except Exception:  # noqa: BLE001  real files fail in any way; the result says so instead
        return None, 1


def _decoded_bytes(dataset: Dataset) -> int:
    samples = int(dataset.get("SamplesPerPixel", 1)) * int(dataset.get("BitsAllocated", 64))
    return int(dataset.Rows) * int(dataset.Columns) * samples // 8


def _to_rgb(frame: NDArray[np.generic], dataset: Dataset) -> NDArray[np.uint8]:
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
    if frame.ndim == 3:  # noqa: PLR2004  rows, columns, samples
        return _colour(frame)
    windowed = apply_voi_lut(apply_modality_lut(frame, dataset), dataset, prefer_lut=False)
    grey = _stretched(windowed)
    if photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _colour(frame: NDArray[np.generic]) -> NDArray[np.uint8]:
    shift = 8 * (frame.dtype.itemsize - 1)
    return np.ascontiguousarray(frame.astype(np.uint32) >> shift, dtype=np.uint8)


def _stretched(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The values from least to greatest as 0 to 255."""
    finite = np.nan_to_num(values.astype(np.float32))
    low, high = float(finite.min()), float(finite.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    return ((finite - low) * scale).astype(np.uint8)


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
