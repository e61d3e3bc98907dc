"""Structured reports, read with pydicom alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import ComprehensiveSRStorage, EnhancedSRStorage, RTDoseStorage

from milvue_async.simulator.objects.making import make_results
from milvue_async.simulator.objects.parameters import ResultParameters
from tests.dicom_files import pydicom_files
from tests.simulator.objects.support import (
    COMMANDS,
    DISCLAIMER,
    LANGUAGES,
    expert,
    load,
    predict,
    put_raw,
    report,
    results,
    source,
    urgences,
    with_finding,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def document(
    sources: list[Dataset], detail: str, command: str = "smarturgences", **asked: str
) -> Dataset:
    return report(sources, command, structured_report_format=detail, **asked)


def items(node: Dataset, meaning: str | None = None, kind: str | None = None) -> Iterator[Dataset]:
    """Every content item below a node of that concept and value type."""
    for item in node.get("ContentSequence", []):
        name = item.ConceptNameCodeSequence[0].CodeMeaning
        if meaning in {None, name} and kind in {None, item.ValueType}:
            yield item
        yield from items(item, meaning, kind)


def code(item: Dataset) -> str:
    """The code of a CODE item's value, or that of a NUM item's name."""
    sequence = "ConceptCodeSequence" if item.ValueType == "CODE" else "ConceptNameCodeSequence"
    coded = item[sequence].value[0]
    return str(coded.get("CodeValue") or coded.LongCodeValue)


def groups(node: Dataset) -> list[Dataset]:
    return list(items(node, "Measurement Group"))


def number(item: Dataset) -> tuple[float, str]:
    (value,) = item.MeasuredValueSequence
    return float(value.NumericValue), str(value.MeasurementUnitsCodeSequence[0].CodeValue)


def points(item: Dataset) -> list[tuple[float, float]]:
    assert (item.ValueType, item.GraphicType) == ("SCOORD", "POLYLINE")
    return list(zip(item.GraphicData[::2], item.GraphicData[1::2], strict=True))


def referenced(item: Dataset) -> str:
    (reference,) = item.ReferencedSOPSequence
    return str(reference.ReferencedSOPInstanceUID)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("detail", "sop_class"),
    [
        ("lite", EnhancedSRStorage),
        ("normal", EnhancedSRStorage),
        ("full", ComprehensiveSRStorage),
    ],
)
def test_every_document_refers_to_its_study_and_says_that_it_is_simulated(
    command: str, detail: str, sop_class: str
) -> None:
    study = [with_finding(), source(number=2)]
    result = document(study, detail, command)
    assert result.SOPClassUID == sop_class
    (evidence,) = result.CurrentRequestedProcedureEvidenceSequence
    named = {
        reference.ReferencedSOPInstanceUID
        for series in evidence.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    assert named == {each.SOPInstanceUID for each in study}
    assert [each.TextValue for each in items(result, "Comment")] == [DISCLAIMER]
    assert len(list(items(result, "Conclusion"))) == 1
    assert (result.CompletionFlag, result.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("detail", ["lite", "normal", "full"])
def test_a_document_is_in_its_language(command: str, language: str, detail: str) -> None:
    study = [with_finding()]
    result = document(study, detail, command, language=language)
    (spoken,) = items(result, "Language of Content Item and Descendants")
    assert code(spoken) == language
    comments = [each.TextValue for each in items(result, "Comment")]
    assert comments[0] == DISCLAIMER
    assert len(comments) == (1 if language == "en" else 2)
    if detail != "lite":
        (instance,) = predict(command, study, language).instances
        expected = {getattr(part.translation, language) for part in instance.body_parts}
        sites = {site.ConceptCodeSequence[0].CodeMeaning for site in items(result, "Finding Site")}
        assert sites == expected


def test_a_lite_document_is_the_conclusion_alone() -> None:
    study = [with_finding()]
    answer = urgences(study, "fr")
    result = document(study, "lite", language="fr")
    (conclusion,) = items(result, "Conclusion")
    positive = [each for each in answer.findings if each.label != "normal"]
    names = ", ".join(each.translation.fr for each in positive)
    assert conclusion.TextValue in {f"Anormal: {names}", f"Doute: {names}"}
    assert groups(result) == []
    (measured,) = items(document(study, "lite", "smartxpert", language="de"), "Conclusion")
    assert measured.TextValue == "2 Messung(en)"


@pytest.mark.parametrize("detail", ["normal", "full"])
def test_findings_and_scores_are_those_of_the_json(detail: str) -> None:
    study = [with_finding(), source(number=2)]
    found = [each for instance in urgences(study).instances for each in instance.findings]
    written = groups(document(study, detail))
    assert len(written) == len(found) == 10
    for group, finding in zip(written, found, strict=True):
        (kind,) = items(group, "Finding")
        (label,) = items(group, "Interpretation")
        (score,) = items(group, "Score")
        assert (code(kind), code(label)) == (finding.value, finding.label)
        assert number(score) == (finding.score, "1")


def test_a_normal_document_names_the_image_of_each_finding_without_coordinates() -> None:
    study = [with_finding(), source(number=2)]
    result = document(study, "normal")
    images = [referenced(each) for each in items(result, kind="IMAGE")]
    assert images == [each.SOPInstanceUID for each in study for _ in range(5)]
    assert list(items(result, kind="SCOORD")) == []


def test_a_full_document_has_the_boxes_of_the_json() -> None:
    origin = with_finding()
    boxes = {box.value: box for box in urgences([origin]).instances[0].bounding_boxes}
    drawn = 0
    for group in groups(document([origin], "full")):
        (kind,) = items(group, "Finding")
        regions = list(items(group, "Image Region"))
        assert len(regions) == (code(kind) in boxes)
        for region in regions:
            box = boxes[code(kind)]
            (left, top), (right, bottom) = box.top_left, box.bottom_right
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            assert points(region) == corners
            (image,) = items(region, kind="IMAGE")
            assert referenced(image) == origin.SOPInstanceUID
            drawn += 1
    assert drawn == len(boxes) > 0


@pytest.mark.parametrize("detail", ["normal", "full"])
def test_a_measurement_report_has_the_measures_of_the_json(detail: str) -> None:
    study = [source(), source(number=2, seed=2)]
    measures = [each for instance in expert(study).instances for each in instance.measures]
    result = document(study, detail, "smartxpert")
    (template,) = result.ContentTemplateSequence
    assert template.TemplateIdentifier == "1500"
    written = groups(result)
    assert len(written) == len(measures) == 4
    for group, measure in zip(written, measures, strict=True):
        (value,) = items(group, kind="NUM")
        assert code(value) == measure.value
        assert number(value) == (measure.measure, measure.unit)
        lines = [points(each) for each in items(value, kind="SCOORD")]
        expected = [[(x1, y1), (x2, y2)] for x1, y1, x2, y2 in measure.lines]
        assert lines == (expected if detail == "full" else [])


def test_tracking_uids_are_the_same_in_each_document() -> None:
    def tracked(detail: str) -> list[str]:
        result = document([with_finding()], detail)
        return [each.UID for each in items(result, "Tracking Unique Identifier")]

    assert tracked("normal") == tracked("full")
    assert len(set(tracked("full"))) == 5


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("detail", ["normal", "full"])
def test_without_anything_found_a_document_is_the_conclusion_alone(
    command: str, detail: str
) -> None:
    origin = source()
    del origin.PixelData
    result = document([origin], detail, command)
    assert groups(result) == []
    (conclusion,) = items(result, "Conclusion")
    assert conclusion.TextValue in {"Out of scope", "0 measurement(s)"}


@pytest.mark.parametrize("command", COMMANDS)
def test_coordinates_on_several_frames_name_the_first(command: str) -> None:
    (path,) = (each for each in pydicom_files() if each.name == "examples_ybr_color.dcm")
    images = list(items(document([load(path)], "full", command), kind="IMAGE"))
    assert images
    assert {each.ReferencedSOPSequence[0].ReferencedFrameNumber for each in images} == {1}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("detail", ["normal", "full"])
def test_an_rt_dose_is_evidence_but_no_image(command: str, detail: str) -> None:
    (path,) = (each for each in pydicom_files() if each.name == "rtdose.dcm")
    result = document([load(path)], detail, command)
    assert list(items(result, kind="IMAGE")) == []
    assert groups(result)
    (evidence,) = result.CurrentRequestedProcedureEvidenceSequence
    (reference,) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert reference.ReferencedSOPClassUID == RTDoseStorage


def test_what_is_predicted_of_an_instance_that_is_not_there_is_left_out() -> None:
    study = [source(), source(number=2)]
    asked = ResultParameters(output_selection="none", structured_report_format="full")
    (result,) = make_results(study[:1], "smarturgences", urgences(study), asked)
    assert len(groups(result)) == 5


def nameless() -> Dataset:
    origin = source(number=2)
    put_raw(origin, "SeriesInstanceUID", b"")
    return origin


def test_an_instance_that_cannot_be_referred_to_is_reported_without_a_reference() -> None:
    result = document([source(), nameless()], "full")
    assert len(groups(result)) == 10
    assert {referenced(each) for each in items(result, kind="IMAGE")} == {
        str(source().SOPInstanceUID)
    }


def test_a_report_that_could_refer_to_nothing_is_not_made() -> None:
    asked: dict[str, Any] = {"output_selection": "none", "structured_report_format": "lite"}
    assert results([nameless()], **asked) == []
    (page,) = results([nameless()], output_selection="none", static_report_format="pdf")
    assert "SourceInstanceSequence" not in page


def test_the_coding_scheme_of_its_own_codes_is_explained() -> None:
    result = document([with_finding()], "full")
    (scheme,) = result.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99SIMULATED"
    assert "Milvue" in scheme.CodingSchemeName
