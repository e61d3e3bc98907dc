"""UIDs are safe as path segments and file names, whatever a caller or a server gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, generate_uid

from milvue_async import InvalidUIDError
from milvue_async.protocol.uids import is_uid, validate_uid

COMPONENTS = st.text("0123456789", min_size=1, max_size=9)
VALID = st.lists(COMPONENTS, min_size=1, max_size=9).map(".".join).filter(lambda u: len(u) <= 64)


@given(VALID)
def test_a_uid_is_returned_as_it_is(uid: str) -> None:
    assert is_uid(uid)
    assert validate_uid(uid) == uid


@given(VALID, st.text("\0 ", max_size=3))
def test_the_padding_of_the_dicom_encoding_goes(uid: str, padding: str) -> None:
    assert validate_uid(uid + padding) == uid


@given(st.text())
def test_what_passes_holds_nothing_but_digits_and_dots(text: str) -> None:
    if is_uid(text):
        assert set(text) <= set("0123456789.")
        assert 1 <= len(text) <= 64
        assert "" not in text.split(".")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        ".",
        "1.",
        ".1",
        "1..2",
        "../..",
        "1/../2",
        "1.2\n",
        "\n1.2",
        " 1.2",
        "1 .2",
        "1.2a",
        "1.-2",
        "1.٣",
        "1.²",
        "1" * 65,
        "1.2%2f",
        None,
        b"1.2",
        12,
        1.2,
        ["1.2"],
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    assert not is_uid(value)
    with pytest.raises(InvalidUIDError):
        validate_uid(value)


def test_a_uid_of_64_characters_passes_and_one_of_65_does_not() -> None:
    assert is_uid("1." + "2" * 62)
    assert not is_uid("1." + "2" * 63)


def test_a_component_with_leading_zeros_passes_since_archives_hold_such() -> None:
    assert is_uid("1.02.003")


def test_a_uid_of_pydicom_becomes_a_plain_str() -> None:
    uid = generate_uid()
    assert type(validate_uid(UID(uid))) is str
    assert validate_uid(uid) == uid


def test_the_error_names_the_attribute_and_shows_only_so_much_of_the_value() -> None:
    with pytest.raises(InvalidUIDError, match=r"^StudyInstanceUID 'x+") as caught:
        validate_uid("x" * 1000, "StudyInstanceUID")
    assert len(str(caught.value)) < 200
