"""What the JSON results say, as plain lists for the page, in one language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from milvue_async.protocol.uids import is_uid
from milvue_async.report.plain import number, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvue_async.protocol.models import (
        BoundingBoxSchema,
        FindingSchema,
        MeasureSchema,
        ReportSchema,
        SmarturgencesV3,
        SmartxpertV3,
        TranslationSchema,
    )

__all__ = ["POSITIVE", "Texts", "images_in", "merged"]

POSITIVE = ("urgent", "abnormal", "doubt")

# What a page can show of one study; a server that sends more is not to fill it.
_MAX_ENTRIES = 200
_MAX_PIXEL = 100_000
_BOX = 2  # x, y
_LINE = 4  # x1, y1, x2, y2
_UNITS = {"deg": "°", "degree": "°", "degrees": "°"}


class _Named(Protocol):
    @property
    def value(self) -> str: ...
    @property
    def translation(self) -> TranslationSchema: ...


class Texts:
    """Chooses texts of results in one language.

    Args:
        language: One of the models' six.
    """

    def __init__(self, language: str) -> None:
        self._language = language

    def name(self, entry: _Named) -> str:
        """The name of a finding or the like; its key where the translation is empty."""
        return text(getattr(entry.translation, self._language)) or text(entry.value)

    def findings(self, findings: Sequence[FindingSchema]) -> list[Any]:
        """``[name, label, score]`` of each, the graver first."""
        found = [
            [self.name(entry), text(entry.label), number(entry.score)]
            for entry in findings[:_MAX_ENTRIES]
        ]
        return sorted(found, key=_gravity)

    def body_parts(self, parts: Sequence[Any]) -> list[Any]:
        """``[name, score]`` of each."""
        return [[self.name(part), number(part.score)] for part in parts[:_MAX_ENTRIES]]

    def boxes(self, boxes: Sequence[BoundingBoxSchema]) -> list[Any]:
        """``[name, label, score, left, top, right, bottom]`` of each that has its corners."""
        return [
            [self.name(box), text(box.label), number(box.score), *box.top_left, *box.bottom_right]
            for box in boxes[:_MAX_ENTRIES]
            if _is_place(box.top_left, _BOX) and _is_place(box.bottom_right, _BOX)
        ]

    def measures(self, measures: Sequence[MeasureSchema]) -> list[Any]:
        """``[name, value, unit, lines]`` of each, a line as ``[x1, y1, x2, y2]``."""
        return [
            [
                self.name(measure),
                number(measure.measure),
                _UNITS.get(measure.unit, text(measure.unit)),
                [line for line in measure.lines[:_MAX_ENTRIES] if _is_place(line, _LINE)],
            ]
            for measure in measures[:_MAX_ENTRIES]
        ]


def _report_in(report: ReportSchema | None) -> dict[str, Any] | None:
    """``{title, techniques, results}``, a result as ``[region, lines]``."""
    if report is None:
        return None
    return {
        "title": text(report.title),
        "techniques": [text(line) for line in report.techniques[:_MAX_ENTRIES]],
        "results": [
            [text(result.region), [text(line) for line in result.items[:_MAX_ENTRIES]]]
            for result in report.results[:_MAX_ENTRIES]
        ],
    }


def images_in(
    urgences: SmarturgencesV3 | None, xpert: SmartxpertV3 | None, texts: Texts
) -> dict[str, dict[str, Any]]:
    """What was said of each image, by SOPInstanceUID; one without a valid UID has none."""
    images: dict[str, dict[str, Any]] = {}
    for instance in urgences.instances if urgences else ():
        if is_uid(instance.SOPInstanceUID):
            image = images.setdefault(instance.SOPInstanceUID, {})
            image["parts"] = texts.body_parts(instance.body_parts)
            image["findings"] = texts.findings(instance.findings)
            image["boxes"] = texts.boxes(instance.bounding_boxes)
    for measured in xpert.instances if xpert else ():
        if is_uid(measured.SOPInstanceUID):
            image = images.setdefault(measured.SOPInstanceUID, {})
            image.setdefault("parts", texts.body_parts(measured.body_parts))
            image["measures"] = texts.measures(measured.measures)
    return images


def merged(urgences: SmarturgencesV3 | None, texts: Texts) -> dict[str, Any]:
    """What was said of the study as a whole: ``flag``, ``findings`` and ``report``."""
    if urgences is None:
        return {}
    return {
        "flag": [text(urgences.flag.label), number(urgences.flag.score)],
        "findings": texts.findings(urgences.findings),
        "report": _report_in(urgences.report),
    }


def _gravity(finding: list[Any]) -> tuple[int, float]:
    label, score = finding[1], finding[2]
    rank = POSITIVE.index(label) if label in POSITIVE else len(POSITIVE)
    return rank, -(score or 0)


def _is_place(values: Sequence[int], length: int) -> bool:
    return len(values) == length and all(abs(value) <= _MAX_PIXEL for value in values)
