"""The simulator's own multipart parsing."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from milvue_async.simulator.stow import StowError, boundary_of, split

BOUNDARIES = st.text("ABCxyz0123456789'()+_,-./:=?", min_size=1, max_size=70)
HEADERS = st.sampled_from(
    [
        b"",
        b"Content-Type: application/dicom\r\n",
        b'Content-Disposition: form-data; name="elem_0"\r\nContent-Type: application/dicom\r\n',
    ]
)
PARTS = st.lists(st.tuples(HEADERS, st.binary(max_size=60)), min_size=1, max_size=4)


def body_of(
    parts: list[tuple[bytes, bytes]], boundary: bytes, preamble: bytes = b"", epilogue: bytes = b""
) -> bytes:
    delimiter = b"--" + boundary
    body = preamble + b"\r\n" if preamble else b""
    for headers, content in parts:
        body += delimiter + b"\r\n" + headers + b"\r\n" + content + b"\r\n"
    return body + delimiter + b"--" + epilogue


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related; boundary=abc",
        'multipart/related; type="application/dicom"; boundary=abc',
        "multipart/related; type=application/dicom; boundary=abc",
        'multipart/related; boundary="abc"; type="application/dicom"',
        'Multipart/Related; BOUNDARY="abc"',
    ],
)
def test_boundary_is_found_quoted_or_not_with_and_without_a_type(content_type: str) -> None:
    assert boundary_of(content_type) == b"abc"


@given(boundary=BOUNDARIES)
def test_every_boundary_of_rfc_2046_is_found_when_quoted(boundary: str) -> None:
    assert boundary_of(f'multipart/related; boundary="{boundary}"') == boundary.encode()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/dicom",
        "multipart/form-data; boundary=abc",
        "multipart/related",
        'multipart/related; boundary=""',
        f"multipart/related; boundary={'a' * 71}",
        "multipart/related; boundary=\u00e9",
    ],
)
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(StowError, match="Content-Type"):
        boundary_of(content_type)


@given(
    parts=PARTS,
    boundary=BOUNDARIES.map(str.encode),
    preamble=st.sampled_from([b"", b"a preamble", b"one\r\nof two lines"]),
    epilogue=st.sampled_from([b"", b"\r\n", b"\r\nan epilogue"]),
)
def test_parts_come_out_as_they_went_in(
    parts: list[tuple[bytes, bytes]], boundary: bytes, preamble: bytes, epilogue: bytes
) -> None:
    framed = [content for _, content in parts]
    # No encoder chooses a boundary that its content holds.
    assume(not any(b"--" + boundary in part for part in (*framed, preamble)))
    body = body_of(parts, boundary, preamble, epilogue)
    assert [body[part] for part in split(body, boundary)] == framed


@given(parts=PARTS, data=st.data())
def test_a_body_cut_anywhere_before_its_end_is_refused(
    parts: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    body = body_of(parts, b"an-unlikely-boundary")
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(StowError):
        split(body[:cut], b"an-unlikely-boundary")


def test_what_only_begins_like_a_boundary_is_content() -> None:
    content = b"one --b two\r\n--boundary-longer\r\nthree"
    body = body_of([(b"", content)], b"boundary")
    assert [body[part] for part in split(body, b"boundary")] == [content]


def test_padding_after_a_boundary_is_passed_over() -> None:
    body = b"--b \t\r\n\r\ncontent\r\n--b--"
    assert [body[part] for part in split(body, b"b")] == [b"content"]


def test_headers_that_do_not_end_are_refused() -> None:
    body = b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\n\r\n--b--"
    with pytest.raises(StowError, match="headers"):
        split(body, b"b")


def test_a_body_without_any_part_is_refused() -> None:
    with pytest.raises(StowError, match="no part"):
        split(b"--b--\r\n", b"b")
