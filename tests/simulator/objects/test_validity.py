"""Every kind of result, of every real image, held against dciodvfy and dcmtk."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from milvue_async.simulator.objects.making import make_results
from milvue_async.simulator.objects.parameters import ResultParameters
from tests.simulator.objects.support import (
    COMMANDS,
    LANGUAGES,
    dump,
    errors_of,
    load,
    predict,
    put_raw,
    real_files,
    source,
    with_finding,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydicom import Dataset

# Real files break the standard, and pydicom says so in warnings wherever it decodes a value.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

FILES = real_files()
EVERY_KIND = (
    {"output_format": "overlay", "structured_report_format": "lite", "static_report_format": "rgb"},
    {
        "output_format": "gsps",
        "output_selection": "no_recap",
        "structured_report_format": "normal",
        "static_report_format": "pdf",
    },
    {
        "output_format": "highbit",
        "output_selection": "no_recap",
        "structured_report_format": "full",
    },
)
NINE = 9  # results of a study of one image, asked for so
REPORTS = ("Enhanced SR Storage", "Comprehensive SR Storage")


def every_kind(sources: Sequence[Dataset], command: str, language: str) -> Iterator[Dataset]:
    prediction = predict(command, sources, language)
    for asked in EVERY_KIND:
        parameters = ResultParameters(language=language, timezone="Europe/Paris", **asked)
        yield from make_results(sources, command, prediction, parameters)


def check(files: Sequence[Path]) -> None:
    assert errors_of(files) == {}
    assert dump("dcmdump", *files).count("# Dicom-Data-Set") == len(files)
    for file in files:
        if file.stem.partition("-")[2] in REPORTS:
            assert dump("dsrdump", file).count("NOT FOR DIAG") == 1


@pytest.mark.parametrize(
    ("number", "path"), list(enumerate(FILES)), ids=[file.name for file in FILES]
)
def test_results_of_a_real_file_are_valid(number: int, path: Path, tmp_path: Path) -> None:
    """Commands and languages take turns from file to file."""
    command = COMMANDS[number % len(COMMANDS)]
    language = LANGUAGES[number // len(COMMANDS) % len(LANGUAGES)]
    files = list(write(every_kind([load(path)], command, language), tmp_path))
    assert len(files) == NINE
    check(files)


@pytest.mark.parametrize(("command", "language"), list(itertools.product(COMMANDS, LANGUAGES)))
def test_every_kind_is_valid_in_every_language(command: str, language: str, tmp_path: Path) -> None:
    study = [with_finding(), source(number=2, edit=invalid)]
    check(list(write(every_kind(study, command, language), tmp_path)))


def invalid(dataset: Dataset) -> None:
    """Break the value of nearly every attribute that results take over."""
    for keyword, value in {
        "PatientName": b"A^B^C^D^E^F^G\x07",
        "PatientID": b"P" * 65,
        "PatientBirthDate": b"19709999",
        "PatientSex": b"MALE",
        "PatientAge": b"5 years",
        "PatientWeight": b"heavy",
        "StudyDate": b"yesterd.",
        "StudyTime": b"12:99",
        "StudyID": b"seventeen letters",
        "AccessionNumber": b"1\\2",
        "SpecificCharacterSet": b"KLINGON",
        "SoftwareVersions": b"x" * 70,
    }.items():
        put_raw(dataset, keyword, value)


def test_an_error_would_be_seen(tmp_path: Path) -> None:
    (result,) = list(every_kind([source()], "smartxpert", "en"))[:1]
    result.PatientSex = "X"
    del result.ConversionType
    (errors,) = errors_of(write([result], tmp_path)).values()
    assert len(errors) == 2
    (file,) = write([result], tmp_path)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(AssertionError):
        dump("dcmdump", file)
