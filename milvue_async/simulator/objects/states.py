"""Marks as graphic annotations that refer to the original instance.

That is a Grayscale Softcopy Presentation State (PS3.3 section A.33.1); for a colour image, which
such a one may not refer to, it is a Color Softcopy Presentation State (section A.33.2).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from highdicom.color import CIELabColor
from highdicom.content import ModalityLUTTransformation, PresentationLUTTransformation
from highdicom.pr import (
    ColorSoftcopyPresentationState,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from PIL import ImageCms
from pydicom.dataset import Dataset

from milvue_async.simulator.objects.attributes import numbers, text
from milvue_async.simulator.objects.captures import COLOURS, OTHER_COLOUR
from milvue_async.simulator.objects.wording import DISCLAIMER, disclaimers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvue_async.simulator.objects.attributes import Reference
    from milvue_async.simulator.objects.identity import Maker
    from milvue_async.simulator.objects.marks import Mark
    from milvue_async.simulator.objects.pixels import Frame
    from milvue_async.simulator.objects.subjects import ImageSubject

__all__ = ["presentation_state"]

_NOTICE = "NOTICE"
_NOTICE_COLOUR = (255, 255, 255)
_LINE = 0.05  # height of a line of the notice, as a part of the display
# Fields of the header of an ICC profile (ICC.1:2010 section 7.2).
_ICC_CLASS, _ICC_DATE = slice(12, 16), slice(24, 36)


def presentation_state(maker: Maker, number: int, subject: ImageSubject) -> Dataset:
    """A presentation state that shows the marks on the first frame of the original.

    Args:
        maker: Identifies it.
        number: Its number among those of its kind, from 1.
        subject: The image and its marks; its reference is complete.
    """
    frame, marks, reference = subject.frame, subject.marks, subject.origin.reference
    image = _referenced(frame, reference)
    layers = {label: _layer(label, order) for order, label in enumerate(_labels(marks), start=1)}
    annotations = [_annotation(image, mark, layers[mark.label.upper()]) for mark in marks]
    notice = _annotation_of_text(image, layers[_NOTICE], maker.parameters.language)
    arguments: dict[str, Any] = {
        **maker.arguments(subject, "gsps", number),
        "referenced_images": [image],
        "content_label": "SIMULATED",
        "content_description": DISCLAIMER,
        "graphic_annotations": [*annotations, notice],
        "graphic_layers": list(layers.values()),
    }
    if frame.photometric.startswith("MONOCHROME"):
        state = _grey_state(arguments, frame, subject.dataset)
    else:
        state = ColorSoftcopyPresentationState(icc_profile=_srgb(), **arguments)
    state.Laterality = None  # unknown
    state.ContentCreatorName = None
    if reference.frame is not None:
        _refer_to_frame(state, reference)
    return maker.finish(state, subject)


def _referenced(frame: Frame, reference: Reference) -> Dataset:
    """What highdicom wants to know of the original."""
    image = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(image, keyword, None)  # `Maker.finish` has them
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(image, keyword, None)
    image.StudyInstanceUID = reference.study_instance_uid
    image.SeriesInstanceUID = reference.series_instance_uid
    image.SOPInstanceUID = reference.sop_instance_uid
    image.SOPClassUID = reference.sop_class_uid
    image.Rows, image.Columns = frame.rows, frame.columns
    image.SamplesPerPixel = 1 if frame.photometric.startswith("MONOCHROME") else 3
    return image


def _labels(marks: Sequence[Mark]) -> list[str]:
    """The layers there must be: one a label, and one for the notice above them all."""
    return [*dict.fromkeys(mark.label.upper() for mark in marks), _NOTICE]


def _layer(label: str, order: int) -> GraphicLayer:
    rgb = _NOTICE_COLOUR if label == _NOTICE else COLOURS.get(label.lower(), OTHER_COLOUR)
    return GraphicLayer(label, order, display_color=CIELabColor.from_rgb(*rgb))


def _annotation(image: Dataset, mark: Mark, layer: GraphicLayer) -> GraphicAnnotation:
    left, top = mark.polylines[0][0]
    return GraphicAnnotation(
        referenced_images=[image],
        graphic_layer=layer,
        graphic_objects=[
            GraphicObject("POLYLINE", np.array(polyline, dtype=float), "PIXEL")
            for polyline in mark.polylines
        ],
        text_objects=[
            TextObject(
                mark.text,
                "PIXEL",
                anchor_point=(float(left), float(top)),
                anchor_point_visible=False,
            )
        ],
    )


def _annotation_of_text(image: Dataset, layer: GraphicLayer, language: str) -> GraphicAnnotation:
    return GraphicAnnotation(
        referenced_images=[image],
        graphic_layer=layer,
        text_objects=[
            TextObject(
                line,
                "DISPLAY",
                bounding_box=(0.02, _LINE * row, 0.98, _LINE * (row + 1)),
                text_justification="LEFT",
            )
            for row, line in enumerate(disclaimers(language))
        ],
    )


def _grey_state(arguments: dict[str, Any], frame: Frame, source: Dataset) -> Dataset:
    inverted = frame.photometric == "MONOCHROME1"
    return GrayscaleSoftcopyPresentationState(
        modality_lut_transformation=_rescaling(source),
        voi_lut_transformations=[_window(frame, source)],
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if inverted else "IDENTITY"
        ),
        **arguments,
    )


def _slope_and_intercept(source: Dataset) -> tuple[float, float]:
    slope, intercept = numbers(source, "RescaleSlope"), numbers(source, "RescaleIntercept")
    if len(slope) == len(intercept) == 1 and slope[0]:
        return slope[0], intercept[0]
    return 1.0, 0.0


def _rescaling(source: Dataset) -> ModalityLUTTransformation:
    slope, intercept = _slope_and_intercept(source)
    return ModalityLUTTransformation(
        rescale_intercept=intercept,
        rescale_slope=slope,
        rescale_type="HU" if text(source, "Modality").strip() == "CT" else "US",
    )


def _window(frame: Frame, source: Dataset) -> SoftcopyVOILUTTransformation:
    """The first window of the source; else one that shows every value there is."""
    centres, widths = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
    if centres and widths and widths[0] >= 1:
        return SoftcopyVOILUTTransformation(window_center=centres[0], window_width=widths[0])
    slope, intercept = _slope_and_intercept(source)
    finite = np.nan_to_num(frame.values.astype(np.float64), posinf=0.0, neginf=0.0)
    ends = sorted(
        (float(finite.min()) * slope + intercept, float(finite.max()) * slope + intercept)
    )
    width = max(1.0, ends[1] - ends[0])
    return SoftcopyVOILUTTransformation(window_center=ends[0] + width / 2, window_width=width)


def _refer_to_frame(state: Dataset, reference: Reference) -> None:
    """Say in every reference which frame is meant."""
    for item in (*state.GraphicAnnotationSequence, *state.ReferencedSeriesSequence):
        item.ReferencedImageSequence = [reference.image_item()]


@cache
def _srgb() -> bytes:
    """An sRGB profile that is the same each time.

    Its class is that of an input device, as PS3.3 section C.11.15 has it; with three colorants and
    curves that differs from the class of a display by its name alone.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_ICC_CLASS] = b"scnr"
    profile[_ICC_DATE] = bytes(12)
    return bytes(profile)
