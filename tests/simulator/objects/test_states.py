"""Presentation states: graphic annotations that refer to the original."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from pydicom.uid import (
    ColorSoftcopyPresentationStateStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
)

from tests.dicom_files import pydicom_files
from tests.simulator.objects.support import (
    DISCLAIMER,
    LANGUAGES,
    expert,
    load,
    picture,
    put_raw,
    source,
    urgences,
    with_finding,
)

if TYPE_CHECKING:
    from pydicom import Dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def state(origin: Dataset, command: str = "smarturgences", **asked: str) -> Dataset:
    return picture(origin, command, output_format="gsps", **asked)


def polylines(result: Dataset) -> list[list[tuple[float, float]]]:
    """The points of every graphic object."""
    found = []
    for annotation in result.GraphicAnnotationSequence:
        for graphic in annotation.get("GraphicObjectSequence", []):
            assert (graphic.GraphicType, graphic.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
            data = graphic.GraphicData
            found.append(list(zip(data[::2], data[1::2], strict=True)))
    return found


def texts(result: Dataset) -> list[str]:
    return [
        words.UnformattedTextValue
        for annotation in result.GraphicAnnotationSequence
        for words in annotation.TextObjectSequence
    ]


def test_its_boxes_are_those_of_the_json() -> None:
    origin = with_finding()
    boxes = urgences([origin]).instances[0].bounding_boxes
    drawn = polylines(state(origin))
    assert len(drawn) == len(boxes) > 0
    for points, box in zip(drawn, boxes, strict=True):
        (left, top), (right, bottom) = box.top_left, box.bottom_right
        assert points[0] == points[-1] == (left, top)
        assert points[1:4] == [(right, top), (right, bottom), (left, bottom)]
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(points))


def test_its_lines_are_those_of_the_json() -> None:
    origin = source()
    lines = [
        [(x1, y1), (x2, y2)]
        for measure in expert([origin]).instances[0].measures
        for x1, y1, x2, y2 in measure.lines
    ]
    assert polylines(state(origin, "smartxpert")) == lines
    assert len(lines) == 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_its_texts_are_in_the_language_and_say_that_it_is_simulated(language: str) -> None:
    origin = with_finding()
    result = state(origin, language=language)
    boxes = urgences([origin]).instances[0].bounding_boxes
    said = texts(result)
    for box in boxes:
        assert f"{getattr(box.translation, language)} {box.score:.2f}" in said
    assert said[len(boxes)] == DISCLAIMER
    assert len(said) == len(boxes) + (1 if language == "en" else 2)
    assert result.ContentDescription == DISCLAIMER


def test_it_refers_to_the_original() -> None:
    origin = with_finding()
    result = state(origin)
    assert result.SOPClassUID == GrayscaleSoftcopyPresentationStateStorage
    (series,) = result.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == origin.SeriesInstanceUID
    for item in (series, *result.GraphicAnnotationSequence):
        (reference,) = item.ReferencedImageSequence
        assert reference.ReferencedSOPInstanceUID == origin.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == origin.SOPClassUID
        assert "ReferencedFrameNumber" not in reference
    (area,) = result.DisplayedAreaSelectionSequence
    assert area.DisplayedAreaBottomRightHandCorner == [origin.Columns, origin.Rows]


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "rtdose.dcm"])
def test_of_several_frames_it_refers_to_the_first(name: str) -> None:
    (path,) = (each for each in pydicom_files() if each.name == name)
    result = state(load(path), "smartxpert")
    for item in (*result.ReferencedSeriesSequence, *result.GraphicAnnotationSequence):
        assert item.ReferencedImageSequence[0].ReferencedFrameNumber == 1


@pytest.mark.parametrize(
    "name", ["examples_rgb_color.dcm", "examples_palette.dcm", "examples_ybr_color.dcm"]
)
def test_for_a_colour_image_it_is_one_for_colour(name: str) -> None:
    (path,) = (each for each in pydicom_files() if each.name == name)
    result = state(load(path), "smartxpert")
    assert result.SOPClassUID == ColorSoftcopyPresentationStateStorage
    assert result.ICCProfile[36:40] == b"acsp"
    assert len(polylines(result)) == 3


def test_labels_are_layers_and_the_notice_lies_above_them() -> None:
    origin = with_finding()
    result = state(origin)
    layers = {each.GraphicLayer: each.GraphicLayerOrder for each in result.GraphicLayerSequence}
    labels = {box.label.upper() for box in urgences([origin]).instances[0].bounding_boxes}
    assert set(layers) == labels | {"NOTICE"}
    assert max(layers, key=lambda name: layers[name]) == "NOTICE"
    assert {each.GraphicLayer for each in result.GraphicAnnotationSequence} == set(layers)


def test_it_shows_the_image_with_its_own_window_and_rescaling() -> None:
    def describe(dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-1024"
        dataset.WindowCenter, dataset.WindowWidth = ["40", "400"], ["350", "2000"]

    result = state(source(edit=describe))
    assert (result.RescaleSlope, result.RescaleIntercept) == (2, -1024)
    (window,) = result.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (40, 350)


@pytest.mark.parametrize("width", ["0", None])
def test_without_a_usable_window_it_shows_all_values(width: str | None) -> None:
    def describe(dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "-1", "100"
        dataset.WindowWidth = width

    origin = source(edit=describe)
    (window,) = state(origin).SoftcopyVOILUTSequence
    low, high = 100 - int(origin.pixel_array.max()), 100 - int(origin.pixel_array.min())
    assert window.WindowCenter - window.WindowWidth / 2 == low
    assert window.WindowCenter + window.WindowWidth / 2 == high


@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")]
)
def test_it_shows_low_values_of_a_monochrome1_image_bright(photometric: str, shape: str) -> None:
    origin = source()
    origin.PhotometricInterpretation = photometric
    assert state(origin).PresentationLUTShape == shape


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "SOPClassUID"])
def test_an_image_that_cannot_be_referred_to_gets_a_page_that_says_so(keyword: str) -> None:
    origin = source()
    del origin.file_meta.MediaStorageSOPClassUID
    put_raw(origin, keyword, b"")
    result = state(origin)
    assert result.SOPClassUID == SecondaryCaptureImageStorage
    assert "SourceImageSequence" not in result


def test_the_class_in_the_file_meta_information_will_do() -> None:
    origin = source()
    put_raw(origin, "SOPClassUID", b"")
    assert state(origin).SOPClassUID == GrayscaleSoftcopyPresentationStateStorage
