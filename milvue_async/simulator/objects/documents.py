"""Predictions as structured reports.

- ``lite``: an Enhanced SR (PS3.3 section A.35.2) with the conclusion in one text.
- ``normal``: an Enhanced SR after template TID 1500 (PS3.16), with a measurement group for each
  finding or measure, which names the image it is on.
- ``full``: a Comprehensive SR (section A.35.3) after the same template, where findings and
  measures have coordinates on the image.

A prediction without any finding or measure has no measurement group, which TID 1500 cannot be
without: it becomes the ``lite`` one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    FindingSite,
    ImageRegion,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset

from milvue_async.protocol.models import SmarturgencesInstanceSchema
from milvue_async.simulator.objects import codes, identity
from milvue_async.simulator.objects.marks import marks_of
from milvue_async.simulator.objects.wording import report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from milvue_async.protocol.models import FindingSchema, MeasureSchema
    from milvue_async.simulator.objects.attributes import Reference
    from milvue_async.simulator.objects.identity import Maker
    from milvue_async.simulator.objects.marks import Mark
    from milvue_async.simulator.objects.subjects import StudySubject
    from milvue_async.simulator.objects.wording import Instance, Prediction

    Group = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations

__all__ = ["structured_report"]


def structured_report(maker: Maker, study: StudySubject) -> Iterator[Dataset]:
    """The report on a whole study, in the format that the maker's parameters ask for.

    Args:
        maker: Identifies it.
        study: What it reports.

    Returns:
        The document alone; nothing where none of the instances can be referred to, since a report
        must refer to something.
    """
    prediction, references = study.prediction, study.references
    evidence = [_evidence(reference) for reference in references if reference.is_complete]
    if not evidence:
        return
    language = maker.parameters.language
    detail = maker.parameters.structured_report_format
    by_uid = {reference.sop_instance_uid: reference for reference in references}
    groups: list[Group] = []
    if detail != "lite":
        groups = list(_groups(prediction, by_uid, language, with_coordinates=detail == "full"))
    document = ComprehensiveSR if detail == "full" else EnhancedSR
    result = document(
        evidence=evidence,
        content=_measurements(prediction, groups, language)
        if groups
        else _conclusion(prediction, language),
        is_complete=True,
        coding_schemes=[codes.coding_scheme()],
        **maker.arguments(study, "structured_report", 1),
    )
    yield maker.finish(result, study)


def _evidence(reference: Reference) -> Dataset:
    """What highdicom wants to know of an instance."""
    evidence = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(evidence, keyword, None)  # `Maker.finish` has them
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(evidence, keyword, None)
    evidence.StudyInstanceUID = reference.study_instance_uid
    evidence.SeriesInstanceUID = reference.series_instance_uid
    evidence.SOPInstanceUID = reference.sop_instance_uid
    evidence.SOPClassUID = reference.sop_class_uid
    return evidence


def _conclusion(prediction: Prediction, language: str) -> ContainerContentItem:
    root = ContainerContentItem(name=codes.DIAGNOSTIC_REPORT, is_content_continuous=False)
    root.ContentSequence = ContentSequence(
        [
            *LanguageOfContentItemAndDescendants(codes.language_code(language)),
            *_observer(),
            *_texts(prediction, language),
        ]
    )
    return root


def _measurements(
    prediction: Prediction, groups: Sequence[Group], language: str
) -> MeasurementReport:
    content = MeasurementReport(
        observation_context=_observer(),
        procedure_reported=codes.IMAGING_PROCEDURE,
        imaging_measurements=groups,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            codes.language_code(language)
        ),
    )
    content[0].ContentSequence.extend(_texts(prediction, language))
    return content


def _texts(prediction: Prediction, language: str) -> list[TextContentItem]:
    """What a person reads: that it is simulated, and the conclusion."""
    words = report(prediction, language)
    comments = [TextContentItem(codes.COMMENT, line, "CONTAINS") for line in words.disclaimers]
    return [*comments, TextContentItem(codes.CONCLUSION, words.conclusion, "CONTAINS")]


def _observer() -> ObservationContext:
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=CodedConcept("121007", "DCM", "Device"),
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=identity.derived_uid("device"),
                name=identity.MODEL,
                manufacturer_name=identity.MANUFACTURER,
                serial_number=identity.SERIAL_NUMBER,
            ),
        )
    )


def _groups(
    prediction: Prediction,
    references: Mapping[str, Reference],
    language: str,
    *,
    with_coordinates: bool,
) -> Iterator[Group]:
    """A measurement group for each finding or measure on each image."""
    for instance in prediction.instances:
        reference = references.get(instance.SOPInstanceUID)
        if reference is None:
            continue
        writer = _Writer(instance, reference, language, with_coordinates)
        if isinstance(instance, SmarturgencesInstanceSchema):
            yield from map(writer.finding, instance.findings)
        else:
            yield from map(writer.measure, instance.measures, marks_of(instance, language))


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the measurement groups of one image."""

    instance: Instance
    reference: Reference
    language: str
    with_coordinates: bool

    def finding(self, finding: FindingSchema) -> Group:
        """A finding: where it has a box, its region if coordinates are wanted."""
        tracking = self._tracking(finding.value)
        evaluation = QualitativeEvaluation(
            codes.INTERPRETATION, codes.label_code(finding.label, self.language)
        )
        score = Measurement(codes.score_name(self.language), finding.score, codes.NO_UNITS)
        kind = codes.value_code(finding, self.language)
        regions = self._regions(finding) if self.with_coordinates else []
        if not regions:
            return MeasurementsAndQualitativeEvaluations(
                tracking_identifier=tracking,
                finding_type=kind,
                finding_sites=self._sites(),
                measurements=[score],
                qualitative_evaluations=[evaluation],
                source_images=[SourceImageForMeasurementGroup(*each) for each in self._sources()],
            )
        return PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_region=regions[0],
            finding_type=kind,
            finding_sites=self._sites(),
            measurements=[score],
            qualitative_evaluations=[evaluation],
        )

    def measure(self, measure: MeasureSchema, mark: Mark) -> Group:
        """A measure, with its lines if coordinates are wanted, else with the image it is on."""
        images = [SourceImageForMeasurement(*each) for each in self._sources()]
        coordinates = [
            CoordinatesForMeasurement(
                "POLYLINE", np.array(line, dtype=float), SourceImageForRegion(*each)
            )
            for each in self._sources()
            for line in mark.polylines
        ]
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=self._tracking(measure.value),
            finding_sites=self._sites(),
            measurements=[
                Measurement(
                    codes.value_code(measure, self.language),
                    measure.measure,
                    codes.unit_code(measure.unit),
                    referenced_coordinates=coordinates if self.with_coordinates else None,
                    referenced_images=None if self.with_coordinates else images,
                )
            ],
        )

    def _regions(self, finding: FindingSchema) -> list[ImageRegion]:
        """Where a finding is: the region in its box, if it has one."""
        return [
            ImageRegion(
                "POLYLINE", np.array(mark.polylines[0], dtype=float), SourceImageForRegion(*each)
            )
            for each in self._sources()
            for mark in marks_of(self.instance, self.language)
            if mark.value == finding.value
        ]

    def _sites(self) -> list[FindingSite]:
        parts = self.instance.body_parts
        return [FindingSite(codes.value_code(part, self.language)) for part in parts]

    def _sources(self) -> list[tuple[str, str, list[int] | None]]:
        """The image, as the arguments of a reference; nothing if it cannot be referred to."""
        if not self.reference.is_complete_image:
            return []
        frames = None if self.reference.frame is None else [self.reference.frame]
        return [(self.reference.sop_class_uid, self.reference.sop_instance_uid, frames)]

    def _tracking(self, value: str) -> TrackingIdentifier:
        uid = identity.derived_uid("tracking", self.reference.sop_instance_uid, value)
        return TrackingIdentifier(uid, value)
