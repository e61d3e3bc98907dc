"""Simulated predictions: what they say, and the pictures that show them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, SecondaryCaptureImageStorage

from milvue_async.dicom import dataset_to_bytes
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Api, Clock

LANGUAGES = ("fr", "en", "es", "de", "it", "pt")


async def finished(api: Api, clock: Clock, files: list[Path] | list[bytes]) -> str:
    uid = await api.submit(files)
    clock.now += 2
    return uid


async def predicted(api: Api, clock: Clock, folder: Path, **study: Any) -> tuple[str, Any]:
    """A study and what smarturgences says of it."""
    uid = await finished(api, clock, study_files(folder, **study))
    return uid, (await api.get(f"/v3/smarturgences/{uid}")).json()


async def with_boxes(api: Api, clock: Clock, folder: Path, **study: Any) -> tuple[str, Any]:
    """The first of some studies in which smarturgences finds something."""
    for seed in range(20):
        uid, answer = await predicted(api, clock, folder, instances=1, seed=seed, **study)
        if answer["instances"][0]["bounding_boxes"]:
            return uid, answer
    pytest.fail("twenty studies without a finding")


def edited(file: Path, edit: Callable[[pydicom.Dataset], None]) -> bytes:
    dataset = pydicom.dcmread(file)
    edit(dataset)
    return dataset_to_bytes(dataset)


async def overlays(api: Api, uid: str, command: str = "smarturgences") -> list[pydicom.Dataset]:
    """The results of a study that show one of its images each."""
    return (await api.results(uid, command, output_selection="no_recap")).datasets()


def grey(dataset: pydicom.Dataset) -> NDArray[np.bool_]:
    """Which pixels of a result have no colour."""
    red, green, blue = np.moveaxis(dataset.pixel_array, 2, 0)
    return np.asarray((red == green) & (green == blue))


async def test_the_same_pixels_get_the_same_prediction(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    answers = [await predicted(await start_simulator(), clock, tmp_path) for _ in range(2)]
    assert answers[0] == answers[1]


async def test_boxes_lie_inside_the_image(api: Api, clock: Clock, tmp_path: Path) -> None:
    for seed in range(10):
        rows, columns = 40 + seed, 30
        _, answer = await predicted(
            api, clock, tmp_path, instances=3, rows=rows, columns=columns, seed=seed
        )
        for box in (box for each in answer["instances"] for box in each["bounding_boxes"]):
            (left, top), (right, bottom) = box["top_left"], box["bottom_right"]
            assert 0 <= left <= right < columns
            assert 0 <= top <= bottom < rows


async def test_measures_lie_inside_the_image_and_are_those_of_their_lines(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    def space(dataset: pydicom.Dataset) -> None:
        dataset.ImagerPixelSpacing = [0.5, 0.2]

    (file,) = study_files(tmp_path, instances=1, rows=400, columns=300)
    uid = await finished(api, clock, [edited(file, space)])
    (instance,) = (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"]
    angle, length = instance["measures"]
    for x1, y1, x2, y2 in angle["lines"] + length["lines"]:
        assert all(0 <= x < 300 for x in (x1, x2))
        assert all(0 <= y < 400 for y in (y1, y2))

    ((x1, y1, x2, y2),) = length["lines"]
    assert (length["type"], length["unit"]) == ("length", "mm")
    assert length["measure"] == round(math.hypot((x2 - x1) * 0.2, (y2 - y1) * 0.5), 1)
    first, second = (np.array([x2 - x1, y2 - y1]) for x1, y1, x2, y2 in angle["lines"])
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert (angle["type"], angle["unit"]) == ("angle", "deg")
    assert angle["measure"] == pytest.approx(math.degrees(math.acos(cosine)), abs=0.06)


async def test_a_length_without_pixel_spacing_is_in_pixels(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid = await finished(api, clock, study_files(tmp_path, instances=1))
    (instance,) = (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"]
    assert instance["measures"][1]["unit"] == "px"


async def test_every_label_occurs_across_studies(api: Api, clock: Clock, tmp_path: Path) -> None:
    labels = {
        (await predicted(api, clock, tmp_path, instances=1, seed=seed))[1]["flag"]["label"]
        for seed in range(20)
    }
    (file,) = study_files(tmp_path, instances=1, seed=20)
    for edit in (remove_pixels, damage_pixels):
        uid = await finished(api, clock, [edited(file, edit)])
        labels.add((await api.get(f"/v3/smarturgences/{uid}")).json()["flag"]["label"])
    assert labels == {"abnormal", "doubt", "normal", "out_scope", "unknown"}


async def test_flag_findings_boxes_and_hl7_agree(api: Api, clock: Clock, tmp_path: Path) -> None:
    _, answer = await with_boxes(api, clock, tmp_path)
    positive = {item["value"] for item in answer["findings"] if item["label"] != "normal"}
    (instance,) = answer["instances"]
    assert {box["value"] for box in instance["bounding_boxes"]} == positive
    assert answer["flag"]["label"] in {"abnormal", "doubt"}
    observed = [line.split("|") for line in answer["hl7"].split("\r") if line.startswith("OBX")]
    assert observed[0][5].startswith(answer["flag"]["label"])
    assert {
        fields[3].partition("^")[0].lower()
        for fields in observed[1:]
        if not fields[5].startswith("normal")
    } == positive


async def test_the_hl7_message_is_an_oru_without_a_patient(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    _, answer = await predicted(api, clock, tmp_path)
    segments = answer["hl7"].split("\r")
    assert segments[0].startswith("MSH|^~\\&|")
    assert segments[0].split("|")[8] == "ORU^R01^ORU_R01"
    assert [segment[:3] for segment in segments] == ["MSH", "PID", "OBR", *["OBX"] * 6, ""]
    assert segments[2].split("|")[25] == "F"
    assert "PHANTOM" not in answer["hl7"].upper()


async def test_texts_come_in_the_language_asked_for(api: Api, clock: Clock, tmp_path: Path) -> None:
    uid, plain = await predicted(api, clock, tmp_path)
    titles = {}
    for language in LANGUAGES:
        answer = (await api.get(f"/v3/smarturgences/{uid}", language=language)).json()
        titles[language] = answer["report"]["title"]
        words = {item["translation"][language] for item in answer["findings"]}
        told = {line.partition(":")[0] for line in answer["report"]["results"][0]["items"]}
        assert told == words
    assert len(set(titles.values())) == len(LANGUAGES)
    assert plain["report"]["title"] == titles["en"]


@pytest.mark.parametrize("command", ["smarturgences", "smartxpert"])
async def test_a_result_is_a_secondary_capture_of_the_same_patient_and_study(
    api: Api, clock: Clock, tmp_path: Path, command: str
) -> None:
    files = study_files(tmp_path, instances=2)
    uid = await finished(api, clock, files)
    results = await overlays(api, uid, command)
    assert len(results) == 2
    for result, file in zip(results, files, strict=True):
        source = pydicom.dcmread(file)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyID"):
            assert result[keyword] == source[keyword]
        assert result.StudyInstanceUID == uid
        assert result.SOPClassUID == SecondaryCaptureImageStorage
        assert result.SOPInstanceUID != source.SOPInstanceUID
        assert result.SeriesInstanceUID != source.SeriesInstanceUID
        assert result.ImageType == ["DERIVED", "SECONDARY"]
        assert result.BurnedInAnnotation == "YES"
        (reference,) = result.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID


@pytest.mark.parametrize("command", ["smarturgences", "smartxpert"])
async def test_unless_asked_otherwise_a_recap_follows_the_result_of_each_image(
    api: Api, clock: Clock, tmp_path: Path, command: str
) -> None:
    files = study_files(tmp_path, instances=2)
    uid = await finished(api, clock, files)
    results = (await api.results(uid, command)).datasets()
    sources = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    named = [
        [str(item.ReferencedSOPInstanceUID) for item in result.SourceImageSequence]
        for result in results
    ]
    assert named == [[sources[0]], [sources[1]], sources]
    assert {result.SOPClassUID for result in results} == {SecondaryCaptureImageStorage}
    assert {result.StudyInstanceUID for result in results} == {uid}
    assert {result.PatientID for result in results} == {"PHANTOM"}
    for number, result in enumerate(results[:2]):
        shown = result.pixel_array[:64, :64, 0][grey(result)[:64, :64]]
        source = pydicom.dcmread(files[number]).pixel_array[grey(result)[:64, :64]]
        assert shown.size
        assert np.abs(shown - source / 4095 * 255).max() < 2


async def test_each_command_has_series_of_its_own_that_stay_the_same(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid = await finished(api, clock, study_files(tmp_path, instances=2))
    series: dict[str, list[str]] = {}
    instances: dict[str, list[str]] = {}
    for command in ("smarturgences", "smartxpert", "smarturgences"):
        results = (await api.results(uid, command)).datasets()
        found = [str(result.SeriesInstanceUID) for result in results]
        assert found[0] == found[1] != found[2]  # the images' and the recap's
        assert series.setdefault(command, found) == found
        made = [str(result.SOPInstanceUID) for result in results]
        assert instances.setdefault(command, made) == made
    assert len({*series["smarturgences"], *series["smartxpert"]}) == 4
    assert len({*instances["smarturgences"], *instances["smartxpert"]}) == 6


async def test_another_simulator_makes_the_same_results(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    parts = []
    for _ in range(2):
        api = await start_simulator()
        uid = await finished(api, clock, study_files(tmp_path))
        parts.append((await api.results(uid)).parts())
    assert len(parts[0]) == 3
    assert parts[0] == parts[1]


async def test_a_patient_name_in_no_character_set_is_kept_in_unicode(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    file = study_files(tmp_path, instances=1)[0].read_bytes()
    odd = file.replace(b"Test^Phantom", b"Test^\xff\xfe^^^^^")  # seven components, too
    assert odd != file
    uid = await finished(api, clock, [odd])
    results = (await api.results(uid)).datasets()
    assert {result.SpecificCharacterSet for result in results} == {"ISO_IR 192"}
    assert {str(result.PatientName) for result in results} == {"Test^ÿþ^^^"}


async def test_boxes_are_burned_into_the_picture_at_their_edges(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid, answer = await with_boxes(api, clock, tmp_path, rows=200, columns=300)
    (result,) = await overlays(api, uid)
    colourless = grey(result)
    for box in answer["instances"][0]["bounding_boxes"]:
        (left, top), (right, bottom) = box["top_left"], box["bottom_right"]
        assert not colourless[top, left : right + 1].any()
        assert not colourless[bottom, left : right + 1].any()
        assert not colourless[top : bottom + 1, left].any()
        assert not colourless[top : bottom + 1, right].any()
    assert colourless[:200, :300].mean() > 0.8


async def test_measures_are_burned_into_the_picture_at_their_ends(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid = await finished(api, clock, study_files(tmp_path, instances=1, rows=200, columns=300))
    (instance,) = (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"]
    (result,) = await overlays(api, uid, "smartxpert")
    colourless = grey(result)
    for measure in instance["measures"]:
        for x1, y1, x2, y2 in measure["lines"]:
            assert not colourless[y1, x1]
            assert not colourless[y2, x2]


async def test_the_picture_beside_the_marks_is_that_of_the_source(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=1, rows=200, columns=300)
    uid = await finished(api, clock, files)
    (result,) = await overlays(api, uid)
    unmarked = grey(result)[:200, :300]
    source = pydicom.dcmread(files[0]).pixel_array / 4095 * 255
    difference = np.abs(result.pixel_array[:200, :300, 0] - source)[unmarked]
    assert difference.max() < 2


async def test_a_monochrome1_image_is_shown_inverted(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    def invert(dataset: pydicom.Dataset) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"

    files = study_files(tmp_path, instances=1, rows=200, columns=300)
    (plain,) = await overlays(api, await finished(api, clock, files))
    uid = await finished(api, clock, [edited(files[0], invert)])
    (inverted,) = await overlays(api, uid)
    unmarked = grey(plain) & grey(inverted)
    total = plain.pixel_array[..., 0].astype(int) + inverted.pixel_array[..., 0]
    assert set(total[:200, :300][unmarked[:200, :300]]) == {255}


@pytest.mark.parametrize("command", ["smarturgences", "smartxpert"])
async def test_every_result_says_that_it_is_simulated(
    api: Api, clock: Clock, tmp_path: Path, command: str
) -> None:
    uid = await finished(api, clock, study_files(tmp_path, instances=1, rows=2, columns=2))
    results = (await api.results(uid, command)).datasets()
    assert len(results) == 2
    for result in results:
        assert result.DerivationDescription == "SIMULATED - NOT FOR DIAGNOSTIC USE"
        assert result.SeriesDescription.startswith(f"{command} ")
        assert result.SeriesDescription.endswith(" (SIMULATED)")
        assert result.BurnedInAnnotation == "YES"
    overlay, recap = results
    assert overlay.Columns >= 300  # wide enough for the words, whatever the image
    assert overlay.pixel_array[2:].max() == 255  # white below the image
    notice = (recap.pixel_array == (255, 176, 0)).all(axis=2)  # its colour on a dark page
    assert notice[: recap.Rows // 2].any()


async def test_a_large_image_is_drawn_smaller_with_its_marks_in_place(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid, answer = await with_boxes(api, clock, tmp_path, rows=4097, columns=200)
    (result,) = await overlays(api, uid)
    assert result.Rows < 2200
    colourless = grey(result)
    for box in answer["instances"][0]["bounding_boxes"]:
        x, y = box["top_left"]
        assert not colourless[y // 3, x // 3]


def remove_pixels(dataset: pydicom.Dataset) -> None:
    del dataset.PixelData


def damage_pixels(dataset: pydicom.Dataset) -> None:
    dataset.BitsAllocated = 24


def undecodable_here(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = pydicom.encaps.encapsulate([b"no JPEG-LS at all."])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless


def bomb(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = bytes((1 << 28) + 2)  # more than is read at once, though it is whole
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def gigantic(dataset: pydicom.Dataset) -> None:
    dataset.Rows = dataset.Columns = 65535


@pytest.mark.parametrize("edit", [remove_pixels, damage_pixels, undecodable_here, gigantic])
async def test_what_cannot_be_drawn_becomes_a_grey_page_without_findings(
    api: Api, clock: Clock, tmp_path: Path, edit: Callable[[pydicom.Dataset], None]
) -> None:
    (file,) = study_files(tmp_path, instances=1)
    uid = await finished(api, clock, [edited(file, edit)])
    for command in ("smarturgences", "smartxpert"):
        (result,) = await overlays(api, uid, command)
        assert result.SOPClassUID == SecondaryCaptureImageStorage
        assert (result.StudyInstanceUID, result.PatientID) == (uid, "PHANTOM")
        assert set(np.unique(result.pixel_array[:512, :512])) == {96}
        assert result.pixel_array[512:].max() == 255  # the words that say so
    (instance,) = (await api.get(f"/v3/smarturgences/{uid}")).json()["instances"]
    assert instance["findings"] == instance["bounding_boxes"] == instance["body_parts"] == []
    (instance,) = (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"]
    assert instance["measures"] == []


async def test_a_page_for_a_file_that_cannot_be_read_is_of_the_same_study(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    (file,) = study_files(tmp_path, instances=1)
    uid = await finished(api, clock, [edited(file, bomb)])
    (result,) = await overlays(api, uid)
    assert result.SOPClassUID == SecondaryCaptureImageStorage
    assert set(np.unique(result.pixel_array[:512, :512])) == {96}
    assert (result.StudyInstanceUID, result.PatientID) == (uid, "")


@pytest.mark.parametrize("spacing", [[0, 0], [], ["0.1"]])
async def test_an_unusable_pixel_spacing_is_none(
    api: Api, clock: Clock, tmp_path: Path, spacing: list[Any]
) -> None:
    def space(dataset: pydicom.Dataset) -> None:
        dataset.PixelSpacing = spacing

    (file,) = study_files(tmp_path, instances=1)
    uid = await finished(api, clock, [edited(file, space)])
    (instance,) = (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"]
    assert instance["measures"][1]["unit"] == "px"


async def test_a_study_sent_again_with_other_pixels_gets_other_results(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    def blacken(dataset: pydicom.Dataset) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))

    files = study_files(tmp_path, instances=1)
    firsts = (await api.results(await finished(api, clock, files))).datasets()
    uid = await finished(api, clock, [edited(files[0], blacken)])
    seconds = (await api.results(uid)).datasets()
    assert len(firsts) == len(seconds) == 2
    for first, second in zip(firsts, seconds, strict=True):
        assert first.SOPInstanceUID != second.SOPInstanceUID
        assert first.PixelData != second.PixelData
