"""Content-Types as servers write them, the boundaries in them, and the kinds of parts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvue_async.errors import ProtocolError
from milvue_async.protocol.content_type import (
    PartKind,
    multipart_boundary,
    parse_media_type,
    part_kind,
)

RELATED = {"type": "application/dicom", "boundary": "b"}


@pytest.mark.parametrize(
    "value",
    [
        'multipart/related; type="application/dicom"; boundary=b',
        'multipart/related;type="application/dicom";boundary=b',
        "multipart/related; type=application/dicom; boundary=b",
        'Multipart/Related; TYPE="application/dicom"; Boundary="b"',
        ' multipart/related ;  type="application/dicom" ;\tboundary=b ; ',
        "multipart/related; boundary=b; type=application/dicom;",
        "multipart/related;; ;boundary=b; type=application/dicom;;",
        'multipart/related; boundary = "b"; type=application/dicom',
        'multipart/related; boundary="\\b"; type="application\\/dicom"',
        "multipart/related; boundary=b; type=application/dicom; boundary=other",
        "multipart/related; broken; =x; boundary=b; type=application/dicom",
        'multipart/related; broken="a;b" c; boundary=b; type=application/dicom',
        'multipart/related; boundary=b; type=application/dicom; start="<a',
        'multipart/related; boundary=b; type=application/dicom; start="\\',
    ],
)
def test_the_spellings_of_a_content_type_mean_the_same(value: str) -> None:
    media_type = parse_media_type(value)

    assert media_type.type == "multipart/related"
    assert media_type.params == RELATED
    assert multipart_boundary(media_type) == "b"


@pytest.mark.parametrize(
    ("written", "boundary"),
    [
        ("----=_Part_1_2.3", "----=_Part_1_2.3"),
        ('"a b;c"', "a b;c"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("'()+_,-./:=?", "'()+_,-./:=?"),
        ("x" * 256, "x" * 256),
    ],
)
def test_a_boundary_is_taken_as_quoted_or_not(written: str, boundary: str) -> None:
    media_type = parse_media_type(f"multipart/related; boundary={written}")

    assert multipart_boundary(media_type) == boundary


printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=70)


@settings(deadline=None)
@given(printable)
def test_any_printable_boundary_survives_quoting(boundary: str) -> None:
    quoted = boundary.replace("\\", "\\\\").replace('"', '\\"')
    media_type = parse_media_type(f'multipart/mixed; a="{quoted}"; boundary="{quoted}"; c=d')

    assert multipart_boundary(media_type) == boundary
    assert media_type.params == {"a": boundary, "boundary": boundary, "c": "d"}


@pytest.mark.parametrize(
    "value", ["", "multipart", "multipart/", "/related", "a/b/c", "a b/c", "a/b c=d", "a/b, c/d"]
)
def test_what_has_no_type_and_subtype_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError, match="no media type"):
        parse_media_type(value)


@pytest.mark.parametrize(
    "value",
    [
        "multipart/related",
        "multipart/related; boundary",
        "multipart/related; boundary=",
        'multipart/related; boundary=""',
        'multipart/related; boundary="b',
        'multipart/related; boundary="b"c',
        'multipart/related; start="<a; boundary=b',
        "multipart/related; boundary=a b",
        "multipart/related; boundary=b, application/json",
        'multipart/related; boundary="a\tb"',
        "multipart/related; boundary=caf\xe9",
        "multipart/related; boundary=" + "x" * 257,
        "application/json; boundary=b",
    ],
)
def test_a_content_type_without_a_usable_boundary_is_refused(value: str) -> None:
    with pytest.raises(ProtocolError):
        multipart_boundary(parse_media_type(value))


@settings(deadline=None)
@given(st.text(st.sampled_from(';"\\= \tab/,\r\n\0\xe9'), max_size=40))
def test_no_parameters_however_broken_hide_the_type(rest: str) -> None:
    media_type = parse_media_type(f"application/json;{rest}")

    assert media_type.type == "application/json"
    assert all(name == name.lower() and name for name in media_type.params)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("application/dicom", PartKind.DICOM),
        ("Application/DICOM; transfer-syntax=1.2.840.10008.1.2.1", PartKind.DICOM),
        ("application/dicom+gzip", PartKind.DICOM_GZIP),
        ("application/json; charset=utf-8", PartKind.JSON),
        ("application/dicom+json", PartKind.JSON),
        ("application/dicom+xml", PartKind.OTHER),
        ("application/octet-stream", PartKind.OTHER),
        ("other", PartKind.OTHER),
        ("", PartKind.OTHER),
    ],
)
def test_the_kind_of_a_part_is_told_by_its_content_type(value: str, kind: PartKind) -> None:
    assert part_kind({"content-type": value}) is kind


def test_a_part_without_content_type_is_dicom() -> None:
    assert part_kind({"content-location": "/studies/1"}) is PartKind.DICOM
