"""Predictions as marks on an image: the same for every object that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from milvue_async.protocol.models import PathoLabelEnum, SmarturgencesInstanceSchema
from milvue_async.simulator.objects.wording import measure_text, say

if TYPE_CHECKING:
    from milvue_async.protocol.models import BoundingBoxSchema, MeasureSchema
    from milvue_async.simulator.objects.wording import Instance

__all__ = ["MEASURE", "Mark", "is_positive", "marks_of"]

MEASURE = "measure"
"""The label of marks that are measures, not findings."""

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to show.

    Attributes:
        value: The API's name of the finding or measure.
        label: A `PathoLabelEnum`, or `MEASURE`.
        text: What stands beside it.
        polylines: Points ``(x, y)`` in pixels of the source, from its top left. A box is one
            polyline, from its top left clockwise and back.
    """

    value: str
    label: str
    text: str
    polylines: tuple[tuple[Point, ...], ...]

    @property
    def is_box(self) -> bool:
        """Whether it is a box, and not lines."""
        return self.label != MEASURE


def marks_of(instance: Instance | None, language: str) -> tuple[Mark, ...]:
    """The boxes or measures of an instance; none of one without a prediction."""
    if instance is None:
        return ()
    if isinstance(instance, SmarturgencesInstanceSchema):
        return tuple(_box(box, language) for box in instance.bounding_boxes)
    return tuple(_lines(measure, language) for measure in instance.measures)


def is_positive(instance: Instance | None) -> bool:
    """Whether there is anything on the image: a finding that is not normal, or a measure."""
    if instance is None:
        return False
    if isinstance(instance, SmarturgencesInstanceSchema):
        negative = {PathoLabelEnum.NORMAL, PathoLabelEnum.OUT_SCOPE}
        return any(finding.label not in negative for finding in instance.findings)
    return bool(instance.measures)


def _box(box: BoundingBoxSchema, language: str) -> Mark:
    (left, top), (right, bottom) = box.top_left, box.bottom_right
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    text = f"{say(box.translation, language)} {box.score:.2f}"
    return Mark(box.value, str(box.label), text, (corners,))


def _lines(measure: MeasureSchema, language: str) -> Mark:
    lines = tuple(((x1, y1), (x2, y2)) for x1, y1, x2, y2 in measure.lines)
    return Mark(measure.value, MEASURE, measure_text(measure, language), lines)
