"""Codes of structured reports: standard ones where there are any, else those of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from milvue_async.simulator.objects.wording import LABELS, LANGUAGES, SCORE, say

if TYPE_CHECKING:
    from milvue_async.protocol.models import (
        BodyPartSchema,
        BoundingBoxSchema,
        FindingSchema,
        MeasureSchema,
        PathoLabelEnum,
    )

__all__ = [
    "COMMENT",
    "CONCLUSION",
    "DIAGNOSTIC_REPORT",
    "FINDING",
    "IMAGING_PROCEDURE",
    "INTERPRETATION",
    "NO_UNITS",
    "coding_scheme",
    "label_code",
    "language_code",
    "score_name",
    "unit_code",
    "value_code",
]

_SCHEME = "99SIMULATED"
_MAX_MEANING = 64  # characters

CONCLUSION = CodedConcept("121077", "DCM", "Conclusion")
COMMENT = CodedConcept("121106", "DCM", "Comment")
FINDING = CodedConcept("121071", "DCM", "Finding")
DIAGNOSTIC_REPORT = CodedConcept("18748-4", "LN", "Diagnostic Imaging Report")
IMAGING_PROCEDURE = CodedConcept("363679005", "SCT", "Imaging procedure")
INTERPRETATION = CodedConcept("interpretation", _SCHEME, "Interpretation")
NO_UNITS = CodedConcept("1", "UCUM", "no units")
_UNITS = {
    "deg": CodedConcept("deg", "UCUM", "degree"),
    "mm": CodedConcept("mm", "UCUM", "mm"),
    "px": CodedConcept("{pixels}", "UCUM", "pixels"),
}


def coding_scheme() -> CodingSchemeIdentificationItem:
    """What the codes that are no standard's are."""
    return CodingSchemeIdentificationItem(
        _SCHEME, name="Names of the Milvue API, in simulated results"
    )


def value_code(
    named: FindingSchema | BoundingBoxSchema | MeasureSchema | BodyPartSchema, language: str
) -> CodedConcept:
    """The API's name of a finding, a measure or a body part."""
    return CodedConcept(named.value, _SCHEME, say(named.translation, language)[:_MAX_MEANING])


def label_code(label: PathoLabelEnum, language: str) -> CodedConcept:
    """How a finding is interpreted."""
    words = LABELS.get(label)
    return CodedConcept(label.value, _SCHEME, say(words, language) if words else label.value)


def score_name(language: str) -> CodedConcept:
    """The name of a finding's score."""
    return CodedConcept("score", _SCHEME, say(SCORE, language))


def unit_code(unit: str) -> CodedConcept:
    """A unit of the API."""
    return _UNITS.get(unit) or CodedConcept(unit, _SCHEME, unit)


def language_code(language: str) -> CodedConcept:
    """The language of a document (PS3.16 TID 1204)."""
    return CodedConcept(language, "RFC5646", LANGUAGES[language])
