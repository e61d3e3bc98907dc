"""Whom results are about, when they were made, and that they are the same each time."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

from milvue_async.dicom import dataset_to_bytes
from milvue_async.errors import InvalidUIDError
from milvue_async.simulator.objects.making import make_results
from milvue_async.simulator.objects.parameters import ResultParameters
from tests.dicom_files import pydicom_files
from tests.simulator.objects.support import (
    STUDY,
    load,
    picture,
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

EVERYTHING = {"structured_report_format": "full", "static_report_format": "rgb"}
FORMATS = ("overlay", "highbit", "gsps")


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """The machine's clock in another time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Pacific/Kiritimati"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def encoded(**asked: str) -> list[bytes]:
    study = [with_finding(), source(number=2)]
    return [dataset_to_bytes(each) for each in results(study, **asked)]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("static", ["rgb", "pdf"])
@pytest.mark.usefixtures("elsewhere")
def test_the_same_source_gives_the_same_bytes(output_format: str, static: str) -> None:
    asked = {**EVERYTHING, "output_format": output_format, "static_report_format": static}
    first, second = encoded(**asked), encoded(**asked)
    assert len(first) == 5
    assert first == second


def test_threads_that_make_results_do_not_disturb_each_other() -> None:
    asked = [{**EVERYTHING, "static_report_format": form} for form in ("pdf", "rgb")] * 3
    alone = [encoded(**each) for each in asked[:2]]
    with ThreadPoolExecutor(len(asked)) as threads:
        together = list(threads.map(lambda each: encoded(**each), asked))
    assert together == alone * 3


def test_uids_depend_on_source_command_kind_and_parameters() -> None:
    study = [with_finding(), source(number=2)]
    seen: set[str] = set()
    made = 0
    for command in ("smarturgences", "smartxpert"):
        for other in ({}, {"language": "fr"}, {"timezone": "+1"}, {"recap_theme": "light"}):
            for result in results(study, command, **EVERYTHING, **other):
                seen.add(result.SOPInstanceUID)
                made += 1
    assert len(seen) == made == 2 * 4 * 5


def test_uids_depend_on_what_was_predicted() -> None:
    def darken(dataset: Dataset) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))

    first, second = picture(source()), picture(source(edit=darken))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID


def test_a_result_keeps_its_uid_when_an_image_is_added_before_it() -> None:
    first, second = source(), source(number=2)
    alone = picture(second)
    among = results([first, second], output_selection="no_recap")
    assert [each.InstanceNumber for each in among] == [1, 2]
    assert alone.SOPInstanceUID == among[1].SOPInstanceUID


def test_each_command_and_kind_has_a_series_of_its_own() -> None:
    study = [source(), source(number=2)]
    series: dict[tuple[str, int], set[str]] = {}
    for command in ("smarturgences", "smartxpert"):
        for output_format in FORMATS:
            for result in results(study, command, output_format=output_format, **EVERYTHING):
                assert result.StudyInstanceUID == STUDY
                assert result.SeriesDescription.startswith(f"{command} ")
                key = (command, result.SeriesNumber)
                series.setdefault(key, set()).add(result.SeriesInstanceUID)
    # The recap and the reports are not those of the other formats: their parameters differ.
    per_key = [len(uids) for uids in series.values()]
    assert sorted(per_key) == [1] * 6 + [3] * 6
    assert len(set.union(*series.values())) == sum(per_key)


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_result_says_that_it_is_simulated_and_derived(output_format: str) -> None:
    made = results([with_finding()], output_format=output_format, **EVERYTHING)
    for result in made:
        assert "(SIMULATED)" in result.SeriesDescription
        assert result.DeviceSerialNumber == "SIMULATED"
        assert result.SoftwareVersions == "simulated"
        if "PixelData" in result:
            assert result.ImageType == ["DERIVED", "SECONDARY"]
            assert result.DerivationDescription == "SIMULATED - NOT FOR DIAGNOSTIC USE"
            assert result.BurnedInAnnotation == "YES"


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_result_has_the_patient_and_the_study_of_its_source(output_format: str) -> None:
    def describe(dataset: Dataset) -> None:
        dataset.PatientAge = "055Y"
        dataset.PatientComments = "first line\r\nsecond line"
        dataset.StudyDescription = "Left wrist"
        dataset.IssuerOfPatientID = "Issuer"

    origin = with_finding(edit=describe)
    keywords = [
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "PatientAge",
        "PatientComments",
        "StudyDescription",
        "IssuerOfPatientID",
    ]
    for result in results([origin], output_format=output_format, **EVERYTHING):
        for keyword in keywords:
            assert result[keyword].value == origin[keyword].value, keyword
        assert result.ReferringPhysicianName == ""


NAMES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFrenMulti.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrRuss.dcm": "Люкceмбypг",  # noqa: RUF001  Cyrillic and Latin letters, as in the file
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_character_set_is_kept_in_unicode(name: str) -> None:
    (path,) = (each for each in pydicom_files() if each.name == name)
    for result in results([load(path)], static_report_format="pdf", language="fr"):
        assert result.SpecificCharacterSet == "ISO_IR 192"
        assert str(result.PatientName) == NAMES[name]
        assert "é" in result.SeriesDescription or "Compte rendu" in result.SeriesDescription


@pytest.mark.parametrize(
    ("keyword", "given", "kept"),
    [
        ("PatientName", b"A^B^C^D^E^F^G", "A^B^C^D^E"),
        ("PatientName", b"Tab\tbed^Name", "Tabbed^Name"),
        ("PatientName", b"x" * 65, ""),
        ("PatientID", b"\0 17 \0", "17"),
        ("PatientID", b"x" * 65, ""),
        ("PatientBirthDate", b"1970.01.31", "19700131"),
        ("PatientBirthDate", b"19700231", ""),
        ("PatientSex", b"MALE", ""),
        ("PatientSex", b"F", "F"),
        ("PatientAge", b"5 years", None),
        ("PatientWeight", b"heavy", None),
        ("StudyTime", b"10:20:30", "102030"),
        ("StudyTime", b"noon", ""),
        ("StudyID", b"seventeen letters", ""),
        ("AccessionNumber", b"first\\second", "first"),
    ],
)
def test_an_invalid_value_is_repaired_or_left_out(
    keyword: str, given: bytes, kept: str | None
) -> None:
    def spoil(dataset: Dataset) -> None:
        put_raw(dataset, keyword, given)

    result = picture(source(edit=spoil))
    assert (str(result[keyword].value or "") if keyword in result else None) == kept


@pytest.mark.filterwarnings("error")
def test_no_message_quotes_the_patient(caplog: pytest.LogCaptureFixture) -> None:
    def spoil(dataset: Dataset) -> None:
        put_raw(dataset, "PatientName", b"Very-Secret\xff\x07")
        put_raw(dataset, "PatientID", b"Very-Secret" * 9)
        put_raw(dataset, "PatientBirthDate", b"Very-Secret")

    with caplog.at_level(0):
        for output_format in FORMATS:
            results([source(edit=spoil)], output_format=output_format, **EVERYTHING)
    assert "Very-Secret" not in caplog.text


@pytest.mark.parametrize(
    ("zone", "offset", "local"),
    [
        ("UTC", "+0000", ("20250102", "030405")),
        ("Europe/Paris", "+0100", ("20250102", "040405")),
        ("America/New_York", "-0500", ("20250101", "220405")),
        ("+5:30", "+0530", ("20250102", "083405")),
    ],
)
@pytest.mark.parametrize("output_format", FORMATS)
def test_dates_and_times_of_results_are_in_the_time_zone_asked_for(
    zone: str, offset: str, local: tuple[str, str], output_format: str
) -> None:
    asked: dict[str, Any] = {**EVERYTHING, "output_format": output_format, "timezone": zone}
    seen = 0
    for result in results([source()], **asked):
        assert result.TimezoneOffsetFromUTC == offset
        assert (result.StudyDate, result.StudyTime) == ("20250102", "030405")
        for kind in ("InstanceCreation", "Content", "PresentationCreation"):
            if f"{kind}Date" in result:
                assert (result[f"{kind}Date"].value, result[f"{kind}Time"].value) == local
                seen += 1
        if "DateOfSecondaryCapture" in result:
            assert (result.DateOfSecondaryCapture, result.TimeOfSecondaryCapture) == local
    assert seen >= len("four")


@pytest.mark.parametrize(
    ("date", "clock", "offset", "moment"),
    [
        (b"20250102", b"0304", b"+0200", ("20250102", "010400")),
        (b"20250102", b"030405.123456", b"-0130", ("20250102", "043405")),
        (b"20250102", b"030405", b"later", ("20250102", "030405")),
        (b"20250102", b"030405", b"+9900", ("20250102", "030405")),
        (b"20250102", b"", b"", ("20250102", "000000")),
        (b"", b"030405", b"", ("19700101", "000000")),
        (b"20161231", b"235960", b"", ("19700101", "000000")),
        (b"00010101", b"000000", b"+1400", ("19700101", "000000")),
        (b"99991231", b"235959", b"-1200", ("19700101", "000000")),
    ],
)
def test_results_are_made_when_their_study_was(
    date: bytes, clock: bytes, offset: bytes, moment: tuple[str, str]
) -> None:
    def move(dataset: Dataset) -> None:
        put_raw(dataset, "StudyDate", date)
        put_raw(dataset, "StudyTime", clock)
        put_raw(dataset, "TimezoneOffsetFromUTC", offset)

    result = picture(source(edit=move))
    assert (result.InstanceCreationDate, result.InstanceCreationTime) == moment


def test_an_offset_of_a_time_without_zones_is_rounded_to_minutes() -> None:
    def move(dataset: Dataset) -> None:
        dataset.StudyDate = "18950101"

    result = picture(source(edit=move), timezone="Europe/Amsterdam")
    assert len(result.TimezoneOffsetFromUTC) == 5


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("value", [b"", b"1.2/../3"])
def test_a_source_without_uids_is_refused(keyword: str, value: bytes) -> None:
    origin = source()
    prediction = urgences([origin])
    put_raw(origin, keyword, value)
    with pytest.raises(InvalidUIDError, match=keyword):
        next(make_results([origin], "smarturgences", prediction, ResultParameters()))


def test_a_source_of_another_study_is_refused() -> None:
    prediction = predict("smartxpert", [source()])
    other = source()
    other.StudyInstanceUID = "1.2.3"
    with pytest.raises(ValueError, match="another study"):
        next(make_results([other], "smartxpert", prediction, ResultParameters()))


def test_a_dataset_made_in_memory_is_a_source_as_well() -> None:
    origin = source()
    assert origin.PatientName  # decoded, no longer the bytes of a file
    origin.OtherPatientIDs = ["1", "2"]
    result = report([origin], structured_report_format="lite")
    assert result.PatientName == "Test^Phantom"
    assert pydicom.uid.UID(result.SOPInstanceUID).is_valid
