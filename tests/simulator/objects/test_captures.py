"""Overlays: the picture of a source with what was predicted on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, SecondaryCaptureImageStorage

from milvue_async.dicom import dataset_to_bytes
from milvue_async.simulator.objects.making import make_results
from milvue_async.simulator.objects.parameters import ResultParameters
from tests.simulator.objects.support import (
    LANGUAGES,
    expert,
    picture,
    source,
    urgences,
    values_of,
    with_finding,
    without_finding,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from tests.simulator.objects.support import Edit

ABNORMAL, DOUBT, MEASURE = (255, 48, 48), (255, 176, 0), (0, 224, 255)


def is_of(values: NDArray[Any], colour: tuple[int, int, int]) -> NDArray[Any]:
    return np.asarray((values == colour).all(axis=-1))


def test_an_overlay_is_a_secondary_capture_that_names_its_source() -> None:
    origin = source()
    result = picture(origin)
    assert result.SOPClassUID == SecondaryCaptureImageStorage
    assert (result.PhotometricInterpretation, result.BitsStored) == ("RGB", 8)
    (reference,) = result.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == origin.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == origin.SOPClassUID


def test_captures_that_are_held_together_share_nothing() -> None:
    sources = [source(number=number, seed=number, rows=100 * number) for number in (1, 2)]
    prediction = urgences(sources)
    made = make_results(sources, "smarturgences", prediction, ResultParameters())
    in_turn = [dataset_to_bytes(each) for each in made]
    held = list(make_results(sources, "smarturgences", prediction, ResultParameters()))
    assert [dataset_to_bytes(each) for each in held] == in_turn
    assert len({each.SOPInstanceUID for each in held}) == 3


def test_boxes_are_drawn_at_their_edges_in_the_colour_of_their_label() -> None:
    origin = with_finding()
    values = values_of(picture(origin))
    (instance,) = urgences([origin]).instances
    assert instance.bounding_boxes
    for box in instance.bounding_boxes:
        (left, top), (right, bottom) = box.top_left, box.bottom_right
        coloured = is_of(values, ABNORMAL if box.label == "abnormal" else DOUBT)
        assert coloured[[top, bottom], left : right + 1].all()
        assert coloured[top : bottom + 1, [left, right]].all()


def test_measures_are_drawn_at_their_ends() -> None:
    origin = source()
    coloured = is_of(values_of(picture(origin, "smartxpert")), MEASURE)
    for measure in expert([origin]).instances[0].measures:
        for x1, y1, x2, y2 in measure.lines:
            assert coloured[y1, x1]
            assert coloured[y2, x2]


def test_beside_the_marks_is_the_picture_of_the_source() -> None:
    origin = without_finding()
    values = values_of(picture(origin))[:200, :300]
    expected = origin.pixel_array / 4095 * 255
    assert np.abs(values - expected[..., np.newaxis]).max() < 2


def test_a_monochrome1_image_is_shown_inverted() -> None:
    def invert(dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"

    plain = values_of(picture(without_finding()))[:200, :300].astype(int)
    origin = without_finding()
    invert(origin)
    assert set((plain + values_of(picture(origin))[:200, :300]).ravel()) == {255}


def test_a_window_that_cannot_be_used_is_passed_over() -> None:
    def spoil(dataset: Dataset) -> None:
        dataset.WindowWidth = "0"

    values = values_of(picture(source(edit=spoil), "smartxpert"))
    assert np.unique(values[:200, :300]).size > 200


def test_one_sample_of_no_known_kind_is_shown_as_grey() -> None:
    def rename(dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "HSV"

    origin = without_finding()
    rename(origin)
    assert (values_of(picture(origin)) == values_of(picture(without_finding()))).all()


def test_a_large_image_is_drawn_smaller_with_its_marks_in_place() -> None:
    origin = source(rows=4097, columns=200)
    result = picture(origin, "smartxpert")
    assert result.Rows < 2200
    coloured = is_of(values_of(result), MEASURE)
    for measure in expert([origin]).instances[0].measures:
        for x1, y1, x2, y2 in measure.lines:
            assert coloured[y1 // 3, x1 // 3]
            assert coloured[y2 // 3, x2 // 3]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_stand_below_the_image_and_can_be_read(language: str) -> None:
    origin = source(rows=2, columns=2)
    result = picture(origin, language=language)
    strip = values_of(result)[2:]
    assert result.Columns >= 320
    lines = np.flatnonzero(np.diff((strip.max(axis=(1, 2)) > 128).astype(int)) == 1)
    # The disclaimer in English, and in another language below it, then what was found.
    assert len(lines) >= (1 if language == "en" else 2)


def remove_pixels(dataset: Dataset) -> None:
    del dataset.PixelData


def damage_pixels(dataset: Dataset) -> None:
    dataset.BitsAllocated = 24


def compress_wrongly(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless


def enlarge(dataset: Dataset) -> None:
    dataset.Rows = dataset.Columns = 65535


def add_a_sample(dataset: Dataset) -> None:
    dataset.SamplesPerPixel = 4
    dataset.PhotometricInterpretation = "CMYK"
    dataset.PlanarConfiguration = 0
    dataset.PixelData *= 4


def lose_the_palette(dataset: Dataset) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"


UNDRAWABLE = [
    remove_pixels,
    damage_pixels,
    compress_wrongly,
    enlarge,
    add_a_sample,
    lose_the_palette,
]


@pytest.mark.parametrize("output_format", ["overlay", "highbit", "gsps"])
@pytest.mark.parametrize("edit", UNDRAWABLE)
def test_what_cannot_be_drawn_becomes_a_grey_page_that_says_so(
    edit: Edit, output_format: str
) -> None:
    origin = source()
    edit(origin)
    result = picture(origin, output_format=output_format)
    assert result.SOPClassUID == SecondaryCaptureImageStorage
    assert set(np.unique(values_of(result)[:512, :512])) == {96}
    assert values_of(result)[512:].max() == 255
    assert result.PatientID == "PHANTOM"
    assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == origin.SOPInstanceUID
