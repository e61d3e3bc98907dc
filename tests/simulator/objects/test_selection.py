"""Which results are made, in which order, and how little is kept meanwhile."""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING

import pytest
from pydicom.uid import UID

from milvue_async.simulator.objects.making import make_results
from milvue_async.simulator.objects.parameters import ResultParameters
from milvue_async.simulator.predictions import smarturgences, smartxpert
from tests.simulator.objects.support import (
    expert,
    results,
    source,
    urgences,
    with_finding,
    without_finding,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

OVERLAY, RECAP, STRUCTURED, STATIC = 9001, 9004, 9005, 9006


def numbers(made: list[Dataset]) -> list[int]:
    """The kinds of results, by the numbers of their series."""
    return [each.SeriesNumber for each in made]


@pytest.mark.parametrize(
    ("selection", "kinds"),
    [
        ("all", [OVERLAY, OVERLAY, RECAP]),
        ("no_recap", [OVERLAY, OVERLAY]),
        ("no_negatives", [OVERLAY, RECAP]),
        ("none", []),
    ],
)
def test_a_selection_is_about_pictures(selection: str, kinds: list[int]) -> None:
    study = [with_finding(), without_finding()]
    assert numbers(results(study, output_selection=selection)) == kinds
    reports = results(
        study,
        output_selection=selection,
        structured_report_format="lite",
        static_report_format="pdf",
    )
    assert numbers(reports) == [*kinds, STRUCTURED, STATIC]


def test_without_negatives_the_images_with_findings_are_left() -> None:
    study = [without_finding(), with_finding()]
    (shown, _) = results(study, output_selection="no_negatives")
    assert shown.SourceImageSequence[0].ReferencedSOPInstanceUID == study[1].SOPInstanceUID
    assert shown.InstanceNumber == 1


def test_an_image_without_measures_is_negative() -> None:
    blank = source(number=2)
    del blank.PixelData
    made = results([source(), blank], "smartxpert", output_selection="no_negatives")
    assert numbers(made) == [OVERLAY, RECAP]


def test_an_image_that_was_not_predicted_is_shown_without_marks_and_is_negative() -> None:
    origin = with_finding()
    prediction = smarturgences(origin.StudyInstanceUID, [], "en")
    for selection, kinds in (("no_recap", [OVERLAY]), ("no_negatives", [RECAP])):
        asked = ResultParameters(output_selection=selection)
        made = list(make_results([origin], "smarturgences", prediction, asked))
        assert numbers(made) == kinds


@pytest.mark.parametrize("command", ["smarturgences", "smartxpert"])
def test_a_study_without_sources_has_no_results(command: str) -> None:
    prediction = (
        smartxpert("1.2.3", []) if command == "smartxpert" else smarturgences("1.2.3", [], "en")
    )
    asked = ResultParameters(structured_report_format="full", static_report_format="rgb")
    assert list(make_results([], command, prediction, asked)) == []


@pytest.mark.parametrize(
    ("output_format", "structured", "static"),
    list(
        itertools.product(
            ("overlay", "highbit", "gsps"),
            ("lite", "normal", "full", "none"),
            ("rgb", "pdf", "none"),
        )
    ),
)
def test_all_combinations_of_formats_are_made(
    output_format: str, structured: str, static: str
) -> None:
    made = results(
        [with_finding()],
        output_format=output_format,
        structured_report_format=structured,
        static_report_format=static,
    )
    assert len(made) == 2 + (structured != "none") + (static != "none")
    classes = [UID(each.SOPClassUID).name for each in made]
    assert ("Presentation" in classes[0]) == (output_format == "gsps")
    assert sum("SR Storage" in each for each in classes) == (structured != "none")
    assert sum("PDF" in each for each in classes) == (static == "pdf")


def test_sources_are_asked_for_one_at_a_time_and_not_kept() -> None:
    study = [source(number=each) for each in range(1, 6)]
    prediction = expert(study)
    uids = [each.SOPInstanceUID for each in study]
    del study
    alive: list[weakref.ref[Dataset]] = []

    def sources() -> Iterator[Dataset]:
        for number in range(1, 6):
            origin = source(number=number)
            alive.append(weakref.ref(origin))
            yield origin
            del origin

    made = make_results(sources(), "smartxpert", prediction, ResultParameters())
    for count, uid in enumerate(uids, start=1):
        result = next(made)
        assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == uid
        assert len(alive) == count
        assert [each() is not None for each in alive] == [False] * (count - 1) + [True]
    assert next(made).SeriesNumber == RECAP
    assert not any(each() for each in alive)


def test_sources_are_not_changed() -> None:
    origin = with_finding()
    before = origin.to_json()
    for output_format in ("overlay", "highbit", "gsps"):
        results([origin], output_format=output_format, structured_report_format="full")
    assert origin.to_json() == before
    assert urgences([origin]) == urgences([with_finding()])
