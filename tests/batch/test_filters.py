"""Filters: which instances are sent, by the values of their elements."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from milvue_async import ConfigurationError
from milvue_async.batch.filters import Filters
from milvue_async.dicom import DicomError, dataset_to_bytes, read_header
from tests.dicom_files import instance, study_files

_KEYWORDS = ["Modality", "PatientName", "Rows", "(0008,0060)", "00100010", "TransferSyntaxUID"]


def _file(**values: object) -> bytes:
    dataset = instance(study_instance_uid="1.2.3")
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = bytes(64 * 64 * 2)
    return dataset_to_bytes(dataset)


def _refused_by(content: bytes | Path, *where: str, where_not: tuple[str, ...] = ()) -> str:
    return Filters.parse(where, where_not).refused_by(read_header(content), content)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("Modality=DX", True),
        ("Modality=D", False),
        ("Modality~D", True),
        ("Modality~^X", False),
        (" Modality =DX", True),
        ("(0008,0060)=DX", True),
        ("(0008, 0060)=DX", True),
        ("00080060=DX", True),
        ("0008,0060=DX", True),
        ("PatientName=Test^Phantom", True),
        ("PatientName~^TEST", False),
        ("PatientName~(?i)^TEST", True),
        ("Rows=64", True),
        ("InstanceNumber=1", True),
        ("WindowCenter=2048", True),
        ("StudyDate~^2025", True),
        ("SOPClassUID=1.2.840.10008.5.1.4.1.1.1.1", True),
        ("TransferSyntaxUID=1.2.840.10008.1.2.1", True),
        ("ImageType=DERIVED", False),
        ("StudyDescription~", False),
        ("StudyDescription=", False),
        ("(0009,1010)=x", False),
    ],
)
def test_an_expression_holds_for_the_value_of_its_element(expression: str, holds: bool) -> None:
    content = _file()
    name = re.split("[=~]", expression)[0].strip()
    assert _refused_by(content, expression) == ("" if holds else f"--where {name}")
    refused_by = _refused_by(content, where_not=(expression,))
    assert refused_by == (f"--where-not {name}" if holds else "")


def test_every_where_must_hold_and_no_where_not() -> None:
    content = _file()
    assert _refused_by(content, "Modality=DX", "Rows=64", where_not=("Rows=65",)) == ""
    assert _refused_by(content, "Modality=DX", "Rows=65") == "--where Rows"
    assert _refused_by(content, "Rows=64", where_not=("Modality=DX",)) == "--where-not Modality"


def test_no_filter_leaves_everything_in() -> None:
    assert _refused_by(_file()) == ""


def test_any_of_several_values_counts() -> None:
    content = _file(ImageType=["DERIVED", "SECONDARY"], WindowCenter=["100", "200"])
    assert _refused_by(content, "ImageType=SECONDARY", "WindowCenter=200") == ""
    assert _refused_by(content, where_not=("ImageType~^SEC",)) == "--where-not ImageType"


def test_an_element_that_is_empty_has_an_empty_value() -> None:
    content = _file(PatientID="", Modality="")
    assert _refused_by(content, "PatientID=", "Modality=", "PatientID~^$") == ""
    assert _refused_by(content, "PatientID~.") == "--where PatientID"


def test_padding_does_not_count() -> None:
    dataset = instance(study_instance_uid="1.2.3")
    dataset.BodyPartExamined = "  WRIST "
    assert _refused_by(dataset_to_bytes(dataset), "BodyPartExamined= WRIST ") == ""


def test_a_modality_that_is_no_code_string_is_looked_up_all_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = _file(Modality="dx-ray")
        assert _refused_by(content, "Modality=dx-ray") == ""


@pytest.mark.parametrize(
    "name", ["Yamada^Tarou", "山田^太郎", "やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"]
)
def test_names_are_decoded_by_their_character_set_group_by_group(name: str) -> None:
    [file] = [path for path in _data("charset_files") if path.name == "chrH31.dcm"]
    dataset = pydicom.dcmread(file)
    dataset.StudyInstanceUID = "1.2.3"
    assert _refused_by(dataset_to_bytes(dataset), f"PatientName={name}") == ""


def _data(folder: str) -> list[Path]:
    return sorted((Path(pydicom.__file__).parent / "data" / folder).iterdir())


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_private_elements_are_compared_as_text(transfer_syntax: pydicom.uid.UID) -> None:
    dataset = instance(study_instance_uid="1.2.3")
    dataset.add_new(0x00990010, "LO", "NOBODY KNOWN")
    dataset.add_new(0x00991001, "UN", b"one\\two")
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.set_original_encoding(transfer_syntax.is_implicit_VR, is_little_endian=True)
    content = dataset_to_bytes(dataset)
    assert _refused_by(content, "(0099,1001)=two", "(0099,1001)=one") == ""
    assert _refused_by(content, "(0099,1001)=three") == "--where (0099,1001)"


def test_a_file_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    [file] = study_files(tmp_path, instances=1)
    assert _refused_by(file, "PatientID=PHANTOM") == ""
    assert _refused_by(file.read_bytes(), "PatientID=PHANTOM") == ""


def test_a_header_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    dataset = instance(study_instance_uid="1.2.3")
    dataset.save_as(tmp_path / "large", enforce_file_format=True)
    with (tmp_path / "large").open("ab") as file:
        file.write(b"\x42\x00\x11\x00OB\0\0" + (1 << 27).to_bytes(4, "little"))
        file.truncate(file.tell() + (1 << 27))
    with pytest.raises(DicomError, match="more than 64 MiB"):
        _refused_by(tmp_path / "large", "PatientID=PHANTOM")
    assert _refused_by(tmp_path / "large", "Modality=DX") == ""


def test_a_value_that_cannot_be_decoded_is_an_error_without_it() -> None:
    dataset = instance(study_instance_uid="1.2.3")
    content = dataset_to_bytes(dataset).replace(
        b"\x20\x00\x13\x00IS\x02\x001 ", b"\x20\x00\x13\x00IS\x02\x00Zq"
    )
    with pytest.raises(DicomError, match=r"cannot decode \(0020,0013\)") as raised:
        _refused_by(content, "InstanceNumber=1")
    assert "Zq" not in str(raised.value)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("Modality", "no = or ~ in it"),
        ("", "no = or ~ in it"),
        ("=DX", "'' is no DICOM keyword"),
        ("PatientNam=DX", "'PatientNam' is no DICOM keyword"),
        ("Face=DX", "'Face' is no DICOM keyword"),
        ("a b=DX", "'a b' is no DICOM keyword"),
        ("(0008,006)=DX", "'(0008,006)' is no DICOM keyword"),
        ("PixelData=x", "not an element with values"),
        ("(7FE0,0010)=x", "not an element with values"),
        ("ReferencedStudySequence=x", "not an element with values"),
        ("PatientName~Do(e", "PatientName~: what follows is no regular expression from its char"),
        ("PatientName~a{99999999999}", "what follows is no regular expression"),
    ],
)
@pytest.mark.parametrize("option", ["--where", "--where-not"])
def test_what_is_no_expression_is_refused_in_one_line(
    expression: str, reason: str, option: str
) -> None:
    where, where_not = ([expression], []) if option == "--where" else ([], [expression])
    with pytest.raises(ConfigurationError, match=re.escape(reason)) as raised:
        Filters.parse(where, where_not)
    assert str(raised.value).startswith(option)
    assert len(str(raised.value).splitlines()) == 1
    assert "Do(e" not in str(raised.value)


@given(st.text())
def test_any_text_is_an_expression_or_refused_in_one_line(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a regular expression that may come to mean another
        reason = _reason(text)
    assert len(reason.splitlines()) <= 1
    assert len(reason) < 1000


def _reason(text: str) -> str:
    """Why it is no expression, or an empty string."""
    try:
        filters = Filters.parse([text], [])
    except ConfigurationError as error:
        return str(error)
    return "" if len(filters.conditions) == 1 else "not one condition"


@given(st.sampled_from(_KEYWORDS), st.text(), st.booleans())
def test_a_value_is_compared_as_it_stands(name: str, value: str, negated: bool) -> None:
    expression = f"{name}={value}"
    filters = Filters.parse([], [expression]) if negated else Filters.parse([expression], [])
    [condition] = filters.conditions
    assert (condition.name, condition.is_negated) == (name, negated)
    assert condition.holds(["other", value.strip("\0 ")])
    assert not condition.holds([])


@given(st.lists(st.tuples(st.sampled_from(_KEYWORDS), st.sampled_from("=~"), st.text())))
def test_filters_cross_to_another_process_as_one_line_of_ascii(
    expressions: list[tuple[str, str, str]],
) -> None:
    where = [name + operator + re.escape(value) for name, operator, value in expressions]
    filters = Filters.parse(where, where[:1])
    assert Filters.from_json(filters.text.encode("ascii")) == filters
    assert len(filters.text.splitlines()) == 1
