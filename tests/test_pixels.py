"""Frames as pictures: real files, and headers made for one rule each."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from milvue_async.dicom import DicomError
from milvue_async.pixels import decode_picture, derived_from
from tests.dicom_files import instance, large_instance, pydicom_files

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def image(folder: Path, values: NDArray[Any] = RAMP, **header: Any) -> Path:
    """An image of these values; None as an element's value leaves it out."""
    dataset = instance(study_instance_uid="1.2.3", rows=values.shape[-2], columns=values.shape[-1])
    dataset.PixelData = values.tobytes()
    for keyword, value in header.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    path = folder / f"{generate_uid()}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def shown(folder: Path, values: NDArray[Any] = RAMP, **header: Any) -> NDArray[np.uint8]:
    return decode_picture(image(folder, values, **header), 512).pixels


def real(name: str) -> Path:
    return next(path for path in pydicom_files() if path.name == name)


class TestGrey:
    def test_a_window_spreads_from_black_to_white(self, tmp_path: Path) -> None:
        pixels = shown(tmp_path, WindowCenter="1000.5", WindowWidth="1001").ravel()
        assert pixels[[0, 500, 1500, 4095]].tolist() == [0, 0, 255, 255]
        assert pixels[1000] == pytest.approx(127.5, abs=1)

    def test_linear_exact_and_sigmoid_are_what_the_standard_says(self, tmp_path: Path) -> None:
        window: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "1024"}
        exact = shown(tmp_path, **window, VOILUTFunction="LINEAR_EXACT").ravel()
        assert exact[[1536, 2048, 2304, 2560]].tolist() == pytest.approx([0, 128, 191, 255], abs=1)
        sigmoid = shown(tmp_path, **window, VOILUTFunction="SIGMOID").ravel()
        expected = 255 / (1 + np.exp(-4 * 256 / 1024))
        assert sigmoid[[2048, 2304]].tolist() == pytest.approx([127.5, expected], abs=1)

    def test_the_first_of_several_windows_counts(self, tmp_path: Path) -> None:
        several: dict[str, Any] = {"WindowCenter": ["100", "2000"], "WindowWidth": ["50", "100"]}
        one: dict[str, Any] = {"WindowCenter": "100", "WindowWidth": "50"}
        assert np.array_equal(shown(tmp_path, **several), shown(tmp_path, **one))

    def test_values_are_rescaled_before_the_window(self, tmp_path: Path) -> None:
        rescaled: dict[str, Any] = {
            "RescaleSlope": "2",
            "RescaleIntercept": "-1000",
            "RescaleType": "US",
        }
        pixels = shown(tmp_path, WindowCenter="0", WindowWidth="200", **rescaled).ravel()
        assert pixels[[449, 551]].tolist() == [0, 255]
        assert pixels[500] == pytest.approx(128, abs=1)

    @pytest.mark.parametrize(
        "inverse",
        [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}],
    )
    def test_what_is_inverse_is_shown_so(self, tmp_path: Path, inverse: dict[str, Any]) -> None:
        assert np.array_equal(shown(tmp_path, **inverse), 255 - shown(tmp_path))

    def test_monochrome1_with_its_inverse_shape_is_inverted_once(self, tmp_path: Path) -> None:
        both: dict[str, Any] = {
            "PhotometricInterpretation": "MONOCHROME1",
            "PresentationLUTShape": "INVERSE",
        }
        assert np.array_equal(shown(tmp_path, **both), 255 - shown(tmp_path))

    def test_a_lookup_table_is_used_where_there_is_no_window(self, tmp_path: Path) -> None:
        table = Dataset()
        table.LUTDescriptor = [4096, 0, 12]
        table.add_new("LUTData", "OW", np.repeat([0, 4095], [4000, 96]).astype("<u2").tobytes())
        header: dict[str, Any] = {
            "WindowCenter": None,
            "WindowWidth": None,
            "VOILUTSequence": Sequence([table]),
        }
        pixels = shown(tmp_path, **header).ravel()
        assert pixels[[3999, 4000]].tolist() == [0, 255]

    @pytest.mark.parametrize(
        "window",
        [
            {"WindowCenter": None, "WindowWidth": None},
            {"WindowWidth": "0"},
            {"WindowCenter": "-30000", "WindowWidth": "10"},
        ],
        ids=["none", "no width", "beside all values"],
    )
    def test_without_a_window_that_shows_something_the_bulk_is_spread(
        self, tmp_path: Path, window: dict[str, Any]
    ) -> None:
        pixels = shown(tmp_path, **window)
        assert (pixels.min(), pixels.max()) == (0, 255)
        assert pixels.mean() == pytest.approx(127.5, abs=2)

    def test_an_even_image_is_no_error(self, tmp_path: Path) -> None:
        even = np.full((64, 64), 7, np.uint16)
        assert np.ptp(shown(tmp_path, even, WindowCenter=None, WindowWidth=None)) == 0

    def test_a_large_one_is_averaged_and_says_how_large_it_is(self, tmp_path: Path) -> None:
        stripes = np.tile(np.array([0, 4095], np.uint16), (600, 1500))
        picture = decode_picture(image(tmp_path, stripes), 512)
        assert (picture.rows, picture.columns) == (600, 3000)
        assert picture.pixels.shape == (300, 1500)
        assert set(np.unique(picture.pixels)) <= {127, 128}

    def test_the_middle_frame_stands_for_all(self, tmp_path: Path) -> None:
        frames = np.stack([np.full((64, 64), value, np.uint16) for value in (0, 2048, 4095)])
        pixels = shown(tmp_path, frames, NumberOfFrames=3)
        assert pixels.shape == (64, 64)
        assert pixels.mean() == pytest.approx(128, abs=1)


class TestRealFiles:
    def test_every_one_is_a_picture_or_a_dicom_error(self) -> None:
        pictures = 0
        for path in pydicom_files():
            try:
                picture = decode_picture(path, 64)
            except DicomError:
                continue
            pictures += 1
            assert picture.pixels.dtype == np.uint8
            assert max(picture.pixels.shape[:2]) >= min(64, picture.rows, picture.columns)
        assert pictures >= 90

    @pytest.mark.parametrize(
        "name",
        ["SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle_16bit.dcm"],
    )
    def test_colours_are_the_same_in_every_encoding(self, name: str) -> None:
        expected = decode_picture(real("SC_rgb_rle.dcm"), 100).pixels.astype(int)
        pixels = decode_picture(real(name), 100).pixels.astype(int)
        assert pixels.shape == expected.shape
        assert np.median(np.abs(pixels - expected)) <= 2

    def test_a_palette_becomes_colours(self) -> None:
        pixels = decode_picture(real("examples_palette.dcm"), 100).pixels
        assert pixels.ndim == 3
        assert np.ptp(pixels.astype(int), axis=2).max() > 100


class TestRefusals:
    def test_without_pixels_there_is_no_picture(self) -> None:
        with pytest.raises(DicomError, match="no pixels"):
            decode_picture(real("rtplan.dcm"), 64)

    def test_one_that_is_too_large_is_refused_before_it_is_decoded(self, tmp_path: Path) -> None:
        huge = image(tmp_path, Rows=60_000, Columns=60_000)
        with pytest.raises(DicomError, match="at most 128 MiB of pixels"):
            decode_picture(huge, 64)

    def test_a_file_that_is_too_large_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        sparse = tmp_path / "sparse.dcm"
        with sparse.open("wb") as file:
            file.truncate((1 << 28) + 1)
        for function in (lambda: decode_picture(sparse, 64), lambda: derived_from(sparse)):
            with pytest.raises(DicomError, match="at most 256 MiB"):
                function()

    def test_an_error_has_no_value_of_the_header(self, tmp_path: Path) -> None:
        broken = image(tmp_path, PhotometricInterpretation="PATIENT NAME")
        content = broken.read_bytes().replace(b"US\x02\x00\x10\x00", b"US\x02\x00\x07\x00")
        broken.write_bytes(content)
        with pytest.raises(DicomError) as caught:
            decode_picture(broken, 64)
        assert "PATIENT" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_memory_is_bounded_by_a_few_times_the_frame(self, tmp_path: Path) -> None:
        megabytes = 16
        path = large_instance(tmp_path / "large.dcm", megabytes)
        tracemalloc.start()
        decode_picture(path, 512)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 * megabytes * 2**20


class TestWhatAResultShows:
    def test_it_is_the_image_that_it_was_made_of(self, tmp_path: Path) -> None:
        item = Dataset()
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
        item.ReferencedSOPInstanceUID = "1.2.3.4"
        result = image(tmp_path, SourceImageSequence=Sequence([item]))
        assert derived_from(result) == ("1.2.3.4",)

    def test_a_uid_that_is_none_is_left_out(self, tmp_path: Path) -> None:
        item = Dataset()
        item.add_new(0x00081155, "LO", "../../x")
        assert derived_from(image(tmp_path, SourceImageSequence=Sequence([item]))) == ()

    def test_one_that_is_no_image_shows_none(self) -> None:
        assert derived_from(real("rtplan.dcm")) == ()
