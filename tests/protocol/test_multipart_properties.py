"""The decoder against a one-shot reference, and against the framing that it undoes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from milvue_async.errors import ProtocolError
from milvue_async.protocol.content_type import multipart_boundary, parse_media_type
from milvue_async.protocol.multipart import MultipartDecoder, StowFraming
from tests.protocol.reference_multipart import (
    Collector,
    bytewise,
    decode,
    decode_or_none,
    reference_parse,
)

DICOM_PART = {"content-type": "application/dicom"}
LONGEST_LINE_END = 257  # 256 blanks and a CR

tokens = st.from_regex(r"[0-9A-Za-z'+_.\-]{1,70}", fullmatch=True)
boundaries = st.one_of(
    st.sampled_from(["b", "--", "x-", "a:b", "b b", "\\.*+?^$(", "----=_Part_1_2.3", "'()+_,-./"]),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=80),
    tokens,
)


def fragments(boundary: str) -> st.SearchStrategy[bytes]:
    """The bytes a multipart body is made of, whole and broken, and some that are none of it."""
    name = boundary.encode()
    line = b"\r\n--" + name
    return st.one_of(
        st.sampled_from([
            b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"-", b"--", b" ", b"\t", b":", b"x", b"\0",
            b" " * 256, b"A: b", b"a:\tc ", b"\r\nContent-Type: application/dicom\r\n\r\n",
            b"\r\n folded", b"\r\n--other\r\n", name, b"--" + name, line, line + b"\r\n",
            line + b" \t\r\n", line + b"\r\n\r\n", line + b"\r\nA: b\r\n\r\n", line + b"--",
            line + b"-", line + b"XYZ\r\n", line + b" \r", line[:-1] + b"\xff",
        ]),
        st.integers(0, len(line)).map(lambda cut: line[:cut]),
        st.binary(max_size=8),
    )  # fmt: skip


@st.composite
def soups(draw: st.DrawFn) -> tuple[str, bytes]:
    """A boundary, and a body thrown together from its fragments, closed more often than not."""
    boundary = draw(boundaries)
    pieces = draw(st.lists(fragments(boundary), max_size=30))
    start = draw(st.sampled_from([b"", b"--" + boundary.encode() + b"\r\n"]))
    close = draw(st.sampled_from([b"", b"\r\n--" + boundary.encode() + b"--"]))
    return boundary, start + b"".join(pieces) + close


@st.composite
def sound_bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """A boundary, and a well-formed body with every liberty the grammar gives."""
    boundary = draw(boundaries)
    line = b"\r\n--" + boundary.encode()
    header = st.from_regex(rb"[A-Za-z!_-]{1,8}:[ \t]?[!-~]{0,5}(\r\n [!-~]{1,3})?", fullmatch=True)
    body = draw(st.sampled_from([b"", b"preamble", b"--", b"\r\n"]))
    for _ in range(draw(st.integers(0, 4))):
        block = b"".join(each + b"\r\n" for each in draw(st.lists(header, max_size=3)))
        content = b"".join(draw(st.lists(fragments(boundary), max_size=8)))
        # Without content the blank line may do without a CRLF of its own before the next boundary.
        rest = draw(st.sampled_from([b"\r\n" + content, b"\r\n", b""]))
        body += line + draw(st.sampled_from([b"", b" ", b"\t "])) + b"\r\n" + block + rest
    body += line + b"--" + draw(st.sampled_from([b"", b"\r\n", b" \r\n", b"\r\nepilogue", line]))
    return boundary, body.removeprefix(b"\r\n")


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(edges)]


cut_lists = st.lists(st.integers(min_value=0), max_size=12)


@settings(deadline=None)
@given(st.one_of(soups(), sound_bodies()), cut_lists)
def test_any_body_at_any_split_decodes_as_the_whole_body_read_at_once(
    named_body: tuple[str, bytes], cuts: list[int]
) -> None:
    boundary, body = named_body
    expected = reference_parse(body, boundary)
    event("malformed" if expected is None else f"{min(len(expected), 3)} parts")

    assert decode_or_none(split(body, cuts), boundary) == expected
    assert decode_or_none([body], boundary) == expected
    assert decode_or_none(bytewise(body), boundary) == expected


instances = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from([b"\r\n", b"\r\n--", b"\r\n--bound", b"\r\n--boundary2", b"-", b"DICM"])
        ).map(b"".join),
    ),
    max_size=5,
)


def framed(framing: StowFraming, contents: list[bytes]) -> bytes:
    heads = (framing.head(index) for index in range(len(contents)))
    return b"".join(head + each for head, each in zip(heads, contents, strict=True)) + framing.tail


@settings(deadline=None)
@given(tokens, instances)
def test_the_declared_content_length_is_that_of_the_bytes(
    boundary: str, contents: list[bytes]
) -> None:
    framing = StowFraming(boundary)

    assert framing.content_length(map(len, contents)) == len(framed(framing, contents))


@settings(deadline=None)
@given(st.one_of(tokens, st.just("boundary")), instances, cut_lists)
def test_decoding_undoes_the_framing_at_any_split(
    boundary: str, contents: list[bytes], cuts: list[int]
) -> None:
    framing = StowFraming(boundary)
    # A random boundary of full length is in no instance; the short ones drawn here may be.
    assume(not any(f"\r\n--{boundary}".encode() in b"\r\n" + each for each in contents))
    body = framed(framing, contents)
    announced = multipart_boundary(parse_media_type(framing.content_type))
    expected = [(DICOM_PART, each) for each in contents]

    assert decode(split(body, cuts), announced) == expected
    assert decode(bytewise(body), announced) == expected


@settings(deadline=None)
@given(boundaries, st.data())
def test_content_never_waits_for_more_than_a_boundary_and_its_padding(
    boundary: str, data: st.DataObject
) -> None:
    chunks = data.draw(st.lists(fragments(boundary), max_size=40))
    collector = Collector(MultipartDecoder(boundary))
    collector.feed(b"--" + boundary.encode() + b"\r\n\r\n.")
    fed = 1
    for chunk in chunks:
        try:
            collector.feed(chunk)
        except ProtocolError:
            return
        if not collector.inside_part or len(collector.parts) > 1:
            return  # a boundary was among the fragments: not all that was fed is content
        fed += len(chunk)
        assert collector.content_bytes >= fed - len(boundary) - 4 - LONGEST_LINE_END


@settings(deadline=None)
@given(sound_bodies(), st.integers(min_value=0))
def test_a_body_cut_before_its_closing_boundary_is_an_error_worth_a_retry(
    named_body: tuple[str, bytes], cut: int
) -> None:
    boundary, body = named_body
    start = body[: cut % len(body)]
    assume(reference_parse(body, boundary) is not None)
    assume(reference_parse(start, boundary) is None)
    collector = Collector(MultipartDecoder(boundary))
    collector.feed(start)

    with pytest.raises(ProtocolError) as caught:
        collector.close()
    assert caught.value.retryable
    assert not collector.ended
