"""Derived images of the original's size and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import SecondaryCaptureImageStorage

from milvue_async.simulator.objects.pixels import decode
from tests.dicom_files import pydicom_files
from tests.simulator.objects.support import (
    expert,
    load,
    picture,
    put_raw,
    source,
    urgences,
    values_of,
    with_finding,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

DRAWABLE = [
    "6154",  # MONOCHROME1
    "693_J2KI.dcm",  # 14 bits, JPEG 2000
    "CT_small.dcm",  # signed
    "J2K_pixelrep_mismatch.dcm",  # 13 bits
    "MR_small_bigendian.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "examples_overlay.dcm",  # 12 bits
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",  # 30 frames
    "liver_1frame.dcm",  # 1 bit
    "rtdose_expb.dcm",  # 32 bits, 15 frames
]


def real(name: str) -> Dataset:
    (path,) = (each for each in pydicom_files() if each.name == name)
    return load(path)


def highbit(origin: Dataset, command: str = "smartxpert") -> Dataset:
    return picture(origin, command, output_format="highbit")


def changed(origin: Dataset, result: Dataset) -> NDArray[Any]:
    """Which pixels of the first frame are others than they were."""
    frame = decode(origin)
    assert frame is not None
    difference = values_of(result) != frame.values
    return np.asarray(difference.any(axis=2) if difference.ndim == 3 else difference)


@pytest.mark.parametrize("name", DRAWABLE)
def test_a_real_image_keeps_its_size_its_depth_and_most_of_its_values(name: str) -> None:
    origin = real(name)
    result = highbit(origin)
    assert result.SOPClassUID == SecondaryCaptureImageStorage
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        assert result[keyword].value == origin[keyword].value, keyword
    kept = str(origin.PhotometricInterpretation).replace("YBR_FULL_422", "RGB")
    assert result.PhotometricInterpretation == kept
    burned = changed(origin, result)
    assert burned.any()
    if min(burned.shape) >= 128:
        assert burned.mean() < 0.4


def test_the_edges_of_boxes_are_as_bright_as_the_brightest_pixel() -> None:
    origin = with_finding(rows=600, columns=800)
    values = values_of(highbit(origin, "smarturgences"))
    for box in urgences([origin]).instances[0].bounding_boxes:
        (left, top), (right, bottom) = box.top_left, box.bottom_right
        assert (values[[top, bottom], left : right + 1] == 4095).all()
        assert (values[top : bottom + 1, [left, right]] == 4095).all()


def test_the_ends_of_measures_are_bright() -> None:
    origin = source()
    values = values_of(highbit(origin))
    for measure in expert([origin]).instances[0].measures:
        for x1, y1, x2, y2 in measure.lines:
            assert values[y1, x1] == values[y2, x2] == 4095


def even(value: int) -> Any:
    def edit(dataset: Dataset) -> None:
        values = np.full((dataset.Rows, dataset.Columns), value, np.uint16)
        dataset.PixelData = values.astype("<u2").tobytes()

    return edit


@pytest.mark.parametrize(
    ("value", "others"), [(0, {0, 1}), (700, {700, 701}), (4095, {4094, 4095})]
)
def test_marks_on_an_even_image_can_be_seen(value: int, others: set[int]) -> None:
    result = highbit(source(edit=even(value)))
    assert set(np.unique(values_of(result))) == others
    assert max(others) < 1 << result.BitsStored


def test_marks_on_an_even_image_of_the_greatest_value_can_be_seen() -> None:
    def widen(dataset: Dataset) -> None:
        even(65535)(dataset)
        dataset.BitsStored, dataset.HighBit = 16, 15

    assert set(np.unique(values_of(highbit(source(edit=widen))))) == {65534, 65535}


def test_marks_on_a_monochrome1_image_are_low_values() -> None:
    def invert(dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"

    origin = source(edit=invert)
    values = values_of(highbit(origin))
    x, y = expert([origin]).instances[0].measures[0].lines[0][:2]
    assert values[y, x] == origin.pixel_array.min()


def test_marks_have_the_brightest_colour_of_a_palette() -> None:
    origin = real("examples_palette.dcm")
    result = highbit(origin)
    x, y = expert([origin]).instances[0].measures[0].lines[0][:2]
    colours = apply_color_lut(values_of(result), result)
    assert colours[y, x].tolist() == colours.reshape(-1, 3)[colours.sum(axis=2).argmax()].tolist()
    before = apply_color_lut(origin.pixel_array, origin)
    kept = ~changed(origin, result)
    assert (colours[kept] == before[kept]).all()


def palette(dataset: Dataset) -> None:
    """Give it a palette of 4096 entries of 16 bits."""
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    entries = np.arange(0, 65536, 16).astype("<u2")
    for colour, table in (("Red", entries), ("Green", entries[::-1]), ("Blue", entries // 2)):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [4096, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())


def test_a_palette_of_words_is_written_out() -> None:
    origin = source(edit=palette)
    result = highbit(origin)
    assert result.RedPaletteColorLookupTableDescriptor == [4096, 0, 16]
    before = apply_color_lut(origin.pixel_array, origin)
    after = apply_color_lut(values_of(result), result)
    kept = ~changed(origin, result)
    assert (after[kept] == before[kept]).all()
    overlay = values_of(picture(origin, "smartxpert"))[:200, :300]
    assert (overlay[kept] == before[kept] >> 8).mean() > 0.9


def test_a_small_image_is_written_on_all_over() -> None:
    origin = source(rows=20, columns=60)
    assert changed(origin, highbit(origin)).mean() > 0.5


def test_rescaling_window_and_spacing_stay() -> None:
    def describe(dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-1024"
        dataset.PixelSpacing = ["0.25", "0.5"]
        dataset.WindowCenter, dataset.WindowWidth = ["40", "400"], ["350", "2000"]

    result = highbit(source(edit=describe))
    assert (result.RescaleSlope, result.RescaleIntercept) == (2, -1024)
    assert result.PixelSpacing == [0.25, 0.5]
    assert (result.WindowCenter, result.WindowWidth) == ([40, 400], [350, 2000])


def test_what_was_looked_at_before_stays_as_well() -> None:
    def describe(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = ["40", "400"], ["350", "2000"]

    origin = source(edit=describe)
    assert origin.WindowCenter[1] - origin.WindowWidth[1] < 0
    assert highbit(origin).WindowCenter == [40, 400]


def test_unusable_rescaling_window_and_spacing_are_left_out() -> None:
    def spoil(dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0", "1"
        dataset.PixelSpacing = ["0", "0.5"]
        dataset.WindowCenter, dataset.WindowWidth = ["40", "400"], "0"
        put_raw(dataset, "RescaleIntercept", b"a lot")

    result = highbit(source(edit=spoil))
    for keyword in ("RescaleSlope", "PixelSpacing", "WindowCenter", "WindowWidth"):
        assert keyword not in result


def test_an_image_of_floats_comes_as_words_that_rescale_to_its_values() -> None:
    origin = source()
    for keyword in ("PixelData", "BitsStored", "HighBit", "WindowCenter", "WindowWidth"):
        del origin[keyword]
    origin.BitsAllocated = 32
    origin.FloatPixelData = np.linspace(-0.5, 2.0, 200 * 300, dtype="<f4").tobytes()
    result = highbit(origin)
    assert (result.BitsAllocated, result.PixelRepresentation) == (16, 0)
    values = values_of(result) * float(result.RescaleSlope) + float(result.RescaleIntercept)
    kept = values_of(result) != values_of(result).max()
    kept &= values_of(result) != 0
    expected = np.linspace(-0.5, 2.0, 200 * 300).reshape(200, 300)
    assert np.abs(values - expected)[kept].max() < 1e-4
    assert picture(origin, "smartxpert").Rows > 200


@pytest.mark.parametrize(
    ("name", "lossy"),
    [
        ("CT_small.dcm", "00"),
        ("SC_rgb_rle_16bit.dcm", "00"),
        ("693_J2KI.dcm", "01"),
        ("examples_ybr_color.dcm", "01"),
    ],
)
def test_what_was_compressed_with_losses_stays_marked_so(name: str, lossy: str) -> None:
    result = highbit(real(name))
    assert result.LossyImageCompression == lossy
    assert ("LossyImageCompressionMethod" in result) == (lossy == "01")
    assert not result.file_meta.TransferSyntaxUID.is_compressed


def test_a_ratio_that_the_source_does_not_state_is_that_of_its_pixels() -> None:
    origin = real("693_J2KI.dcm")
    origin.pop("LossyImageCompressionRatio", None)
    ratio = 512 * 512 * 2 / len(origin.PixelData)
    assert highbit(origin).LossyImageCompressionRatio == pytest.approx(ratio)


def test_a_ratio_that_the_source_states_is_kept() -> None:
    def state(dataset: Dataset) -> None:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = ["12.5"]

    result = highbit(source(edit=state))
    assert result.LossyImageCompressionRatio == 12.5
