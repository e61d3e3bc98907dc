"""Pictures as Secondary Capture Images (PS3.3 section A.8.1)."""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from highdicom.sc import SCImage
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset

from milvue_async.protocol.models import PathoLabelEnum
from milvue_async.simulator.objects.identity import EQUIPMENT
from milvue_async.simulator.objects.lettering import draw_mark, fitting_size, font, wrap
from milvue_async.simulator.objects.marks import MEASURE
from milvue_async.simulator.objects.wording import DISCLAIMER, NOT_DRAWN, disclaimers, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from milvue_async.simulator.objects.attributes import Reference
    from milvue_async.simulator.objects.identity import Maker
    from milvue_async.simulator.objects.marks import Mark
    from milvue_async.simulator.objects.pixels import Picture
    from milvue_async.simulator.objects.subjects import Subject

__all__ = ["COLOURS", "annotate", "capture", "derive", "overlay", "undrawn"]

COLOURS: dict[str, tuple[int, int, int]] = {
    PathoLabelEnum.ABNORMAL: (255, 48, 48),
    PathoLabelEnum.DOUBT: (255, 176, 0),
    MEASURE: (0, 224, 255),
}
"""Label of a mark to its colour; others are `OTHER_COLOUR`."""
OTHER_COLOUR = (176, 128, 255)

_WHITE = (255, 255, 255)
_MIN_WIDTH = 320  # pixels, so that the disclaimer can be read
_PAGE_SHAPE = (512, 512, 3)
_PAGE_GREY = 96
_MARGIN = 4  # pixels
_NAMES = {
    "SeriesInstanceUID": "series_instance_uid",
    "SeriesNumber": "series_number",
    "SeriesDescription": "series_description",
    "SOPInstanceUID": "sop_instance_uid",
    "InstanceNumber": "instance_number",
}


def overlay(
    annotated: NDArray[np.uint8], marks: Sequence[Mark], language: str
) -> NDArray[np.uint8]:
    """A picture of the source with its marks burned in, and what they are in words below it.

    The image lies at the top left, so that coordinates of a prediction, divided by the step of
    its picture, are those of the result.

    Args:
        annotated: The picture with its marks, as of `annotate`.
        marks: What they are.
        language: Of the words.

    Returns:
        RGB of 8 bits, shape (rows, columns, 3).
    """
    texts = [*disclaimers(language), *(mark.text for mark in marks)]
    return _captioned(annotated, texts)


def undrawn(language: str) -> NDArray[np.uint8]:
    """A grey page that says that the source could not be drawn: RGB of 8 bits."""
    page = np.full(_PAGE_SHAPE, _PAGE_GREY, np.uint8)
    return _captioned(page, [*disclaimers(language), say(NOT_DRAWN, language)])


def annotate(picture: Picture, marks: Iterable[Mark]) -> NDArray[np.uint8]:
    """The picture with its marks burned in, each in the colour of its label."""
    canvas = Image.fromarray(picture.pixels)
    pen = ImageDraw.Draw(canvas)
    width = max(2, max(canvas.size) // 300)
    for mark in marks:
        ink = COLOURS.get(mark.label, OTHER_COLOUR)
        draw_mark(pen, mark, step=picture.step, width=width, ink=ink, origin=(0, 0))
    return np.asarray(canvas)


def capture(
    maker: Maker, kind: str, number: int, pixels: NDArray[np.uint8], subject: Subject
) -> Dataset:
    """A Secondary Capture of RGB pixels.

    Args:
        maker: Identifies it.
        kind: What it is.
        number: Its number among those of its kind, from 1.
        pixels: Shape (rows, columns, 3).
        subject: What it is about.
    """
    blank = _blank()
    result = Dataset()
    result.update({element.tag: copy(element) for element in blank})
    result.file_meta = FileMetaDataset()
    result.file_meta.update({element.tag: copy(element) for element in blank.file_meta})
    names = maker.names(subject, kind, number)
    for keyword, name in _NAMES.items():
        setattr(result, keyword, names[name])
    result.StudyInstanceUID = subject.origin.reference.study_instance_uid
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    result.Rows, result.Columns = pixels.shape[:2]
    result.PixelData = pixels.tobytes()
    derive(result, subject.references)
    return maker.finish(result, subject)


@lru_cache(maxsize=1)
def _blank() -> SCImage:
    """One black pixel, made once: highdicom takes as long for it as a capture does for the rest."""
    return SCImage(
        pixel_array=np.zeros((1, 1, 3), np.uint8),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # required there; replaced by `derive`
        study_instance_uid="2.25.0",  # as are those by `capture`
        series_instance_uid="2.25.0",
        series_number=1,
        series_description="",
        sop_instance_uid="2.25.0",
        instance_number=1,
        **EQUIPMENT,
    )


def derive(result: Dataset, sources: Iterable[Reference]) -> None:
    """Say of an image that it is derived, simulated, written on, and from what it is made."""
    result.ImageType = ["DERIVED", "SECONDARY"]
    result.Laterality = None  # unknown, as is the orientation
    result.PatientOrientation = None
    result.ConversionType = "SYN"
    result.BurnedInAnnotation = "YES"
    result.DerivationDescription = DISCLAIMER
    items = [source.image_item() for source in sources if source.is_complete]
    if items:
        result.SourceImageSequence = items


def _captioned(picture: NDArray[np.uint8], texts: Iterable[str]) -> NDArray[np.uint8]:
    """The picture with ``texts`` on a black strip below it."""
    height, image_width = picture.shape[:2]
    width = max(image_width, _MIN_WIDTH)
    room = width - 2 * _MARGIN
    size = fitting_size(DISCLAIMER, room // 3, smallest=12, largest=max(12, width // 40))
    lines = [part for text in texts for part in wrap(text, size, room)]
    advance = size * 3 // 2
    page = Image.new("RGB", (width, height + len(lines) * advance + 2 * _MARGIN))
    page.paste(Image.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        top = height + _MARGIN + number * advance
        pen.text((_MARGIN, top), line, font=font(size), fill=_WHITE)
    return np.asarray(page)
