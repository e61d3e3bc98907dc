"""What the decoder takes, what it refuses, what it keeps; and the framing of a STOW request."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from milvue_async.errors import ProtocolError
from milvue_async.protocol.multipart import (
    MultipartDecoder,
    MultipartEnd,
    PartBegin,
    PartData,
    PartEnd,
    StowFraming,
)
from tests.protocol.reference_multipart import Collector, Parts, bytewise, decode

DICOM = {"content-type": "application/dicom"}
PART = b"--bound\r\nContent-Type: application/dicom\r\n\r\n"
END = b"\r\n--bound--"


def decode_both_ways(body: bytes, boundary: str = "bound") -> Parts:
    """Decode in one chunk and byte by byte; both must tell the same."""
    parts = decode([body], boundary)
    assert decode(bytewise(body), boundary) == parts
    return parts


def refusal(body: bytes, decoder: MultipartDecoder | None = None) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        (decoder or MultipartDecoder("bound")).feed(body)
    return caught.value


def inside_a_part(boundary: str) -> Collector:
    collector = Collector(MultipartDecoder(boundary))
    collector.feed(b"--" + boundary.encode() + b"\r\n\r\n")
    return collector


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        pytest.param(PART + b"abc" + END + b"\r\n", [b"abc"], id="as the RFC has it"),
        pytest.param(PART + b"abc" + END, [b"abc"], id="no final CRLF"),
        pytest.param(b"\r\n" + PART + b"abc" + END, [b"abc"], id="CRLF before all"),
        pytest.param(b"hello\r\nyou\r\n" + PART + b"abc" + END, [b"abc"], id="preamble"),
        pytest.param(b"x--bound\r\n\r\n" + PART + b"abc" + END, [b"abc"], id="boundary in a line"),
        pytest.param(PART + b"abc" + END + b"\r\nbye" + END, [b"abc"], id="epilogue"),
        pytest.param(PART + b"abc" + END + b" \t\r\n", [b"abc"], id="blanks after the close"),
        pytest.param(PART + END, [b""], id="no content"),
        pytest.param(PART + END[2:], [b""], id="no content, nor a CRLF for it"),
        pytest.param(PART + b"\r\n" + PART + b"2" + END, [b"", b"2"], id="empty, then not"),
        pytest.param(PART + b"\r\n\r\n" + END, [b"\r\n\r\n"], id="content of line ends"),
        pytest.param(PART + b"abc\r" + END, [b"abc\r"], id="CR before the boundary"),
        pytest.param(PART + b"abc\n--bound--" + END, [b"abc\n--bound--"], id="bare LF"),
        pytest.param(PART + b"--boun" + END, [b"--boun"], id="content like a boundary"),
    ],
)
def test_content_is_found_between_boundaries(body: bytes, contents: list[bytes]) -> None:
    assert decode_both_ways(body) == [(DICOM, each) for each in contents]


@pytest.mark.parametrize("boundary", ["b", "--", "a b", "----=_Part_1_2.3", "x" * 256])
@pytest.mark.parametrize("ending", ["", "\r\n", "\r\n\r\n"])
def test_an_empty_result_is_a_closing_boundary_alone(boundary: str, ending: str) -> None:
    assert decode_both_ways(f"--{boundary}--{ending}".encode(), boundary) == []


@pytest.mark.parametrize("padding", [b" ", b"\t \t", b" " * 256])
def test_blanks_may_follow_a_boundary(padding: bytes) -> None:
    body = PART + b"abc\r\n" + PART.replace(b"bound", b"bound" + padding) + b"xyz" + END
    parts = [(DICOM, b"abc"), (DICOM, b"xyz")]

    assert decode_both_ways(body) == parts
    for cut in range(len(body)):
        assert decode([body[:cut], body[cut:]], "bound") == parts


def test_endless_blanks_after_a_boundary_are_refused() -> None:
    body = PART + b"abc\r\n--bound" + b" " * 257

    assert "256 blanks" in str(refusal(body))
    with pytest.raises(ProtocolError, match="256 blanks"):
        decode(bytewise(body), "bound")


@pytest.mark.parametrize(
    "content",
    [
        b"\r\n--boundary\r\n",
        b"\r\n--bound-\r\n",
        b"\r\n--bound \t-\r\n",
        b"\r\n--bound\n",
        b"\r\n--bound\r",
        b"\r\n--bound \r\r\n--boun",
        b"\r\n--bounD\r\n--\r\n--b",
        b"\r\n\r\n--bound\rX",
    ],
)
def test_what_only_begins_like_a_boundary_is_content(content: bytes) -> None:
    assert decode_both_ways(PART + content + END) == [(DICOM, content)]


def test_a_multipart_inside_a_part_is_content() -> None:
    inner = b"--bound2\r\nA: b\r\n\r\n1\r\n--bound2\r\n\r\n2\r\n--bound2--\r\n"

    assert decode_both_ways(PART + inner + END) == [(DICOM, inner)]


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        pytest.param(b"", {}, id="none"),
        pytest.param(b"CONTENT-Type:\t a/b \r\n", {"content-type": "a/b"}, id="blanks and case"),
        pytest.param(b"A:\r\n", {"a": ""}, id="empty"),
        pytest.param(b"A: 1: 2\r\n", {"a": "1: 2"}, id="colon in the value"),
        pytest.param(b"A: b\r\n c\r\n\t d\r\n", {"a": "b c d"}, id="folded"),
        pytest.param(b"A: 1\r\nB: 2\r\na: 3\r\n", {"a": "1, 3", "b": "2"}, id="repeated"),
        pytest.param(b"--boundX: y\r\n", {"--boundx": "y"}, id="name like a boundary"),
        pytest.param(b"A: \xe9\r\n", {"a": "\xe9"}, id="Latin-1"),
    ],
)
def test_headers_are_read_with_lower_case_names(block: bytes, headers: dict[str, str]) -> None:
    assert decode_both_ways(b"--bound\r\n" + block + b"\r\nabc" + END) == [(headers, b"abc")]
    # A part may also end with its headers; the blank line then begins the next boundary.
    assert decode_both_ways(b"--bound\r\n" + block + END) == [(headers, b"")]


@pytest.mark.parametrize(
    "block",
    [
        b"no colon\r\n",
        b": no name\r\n",
        b"blank in name: x\r\n",
        b"blank before colon : x\r\n",
        b" folded from nothing\r\n",
        b"A: \0\r\n",
        b"A: bare\nLF\r\n",
        b"A: bare\rCR\r\n",
        b"\xc3\xa9: x\r\n",
    ],
)
def test_malformed_headers_are_refused(block: bytes) -> None:
    body = b"--bound\r\n" + block + b"\r\nabc" + END

    assert "header of part 1 is malformed" in str(refusal(body))
    with pytest.raises(ProtocolError, match="malformed"):
        decode(bytewise(body), "bound")


@pytest.mark.parametrize("line", [b"--bound\r\n", b"--bound  \r\n", b"--bound--\r\n"])
def test_a_boundary_inside_headers_is_refused(line: bytes) -> None:
    assert "inside the headers" in str(refusal(b"--bound\r\nA: b\r\n" + line + b"\r\nabc" + END))


def test_a_boundary_that_would_make_a_header_name_still_ends_the_headers() -> None:
    error = refusal(b"--a:b\r\nA: b\r\n--a:b\r\n\r\nabc\r\n--a:b--", MultipartDecoder("a:b"))

    assert "inside the headers" in str(error)


def test_a_header_that_only_begins_like_a_boundary_is_a_header() -> None:
    body = b"--a:b\r\n--a:b-\r\n\r\nabc\r\n--a:b--"

    assert decode_both_ways(body, "a:b") == [({"--a": "b-"}, b"abc")]


@pytest.mark.parametrize("size", [1, 3, 100, 1024, 5000])
def test_headers_are_taken_up_to_their_cap_and_refused_beyond(size: int) -> None:
    block = b"A:" + b"x" * size
    body = b"--bound\r\n" + block + b"\r\n\r\nabc" + END
    for chunks in ([body], bytewise(body)):
        fitting = Collector(MultipartDecoder("bound", max_header_bytes=len(block)))
        fitting.feed_all(chunks)
        assert fitting.close() == [({"a": "x" * size}, b"abc")]

        tight = Collector(MultipartDecoder("bound", max_header_bytes=len(block) - 1))
        with pytest.raises(ProtocolError, match=f"exceed {len(block) - 1} bytes"):
            tight.feed_all(chunks)


def test_headers_without_an_end_are_refused_at_the_cap() -> None:
    decoder = MultipartDecoder("bound", max_header_bytes=100)
    decoder.feed(b"--bound\r\n")

    assert "exceed 100 bytes" in str(refusal(b"A" * 104, decoder))


def test_too_many_headers_are_refused() -> None:
    body = b"--bound\r\n" + b"A: b\r\n" * 3 + b"\r\n"

    assert len(MultipartDecoder("bound", max_headers=3).feed(body)) == 1
    error = refusal(body, MultipartDecoder("bound", max_headers=2))
    assert str(error) == "part 1 has more than 2 headers"


def test_too_many_parts_are_refused() -> None:
    body = PART + b"1\r\n" + PART + b"2" + END

    assert MultipartDecoder("bound", max_parts=2).feed(body)[-1] == MultipartEnd()
    error = refusal(body, MultipartDecoder("bound", max_parts=1))
    assert str(error) == "the multipart body has more than 1 parts"


def test_nothing_is_taken_after_a_refusal() -> None:
    decoder = MultipartDecoder("bound")
    refusal(b"--bound\r\nno colon\r\n\r\n", decoder)

    refusal(PART + b"abc" + END, decoder)
    with pytest.raises(ProtocolError) as caught:
        decoder.close()
    assert not caught.value.retryable


@pytest.mark.parametrize("boundary", ["", "x" * 257, "a\tb", "a\r\nb", "caf\xe9"])
def test_an_unusable_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(ProtocolError, match="printable ASCII"):
        MultipartDecoder(boundary)


def test_a_body_cut_at_any_byte_is_an_error_worth_a_retry() -> None:
    body = b"preamble\r\n" + PART + b"one\r\n--bou\r\n" + PART + b"two" + END
    for end in range(len(body)):
        decoder = MultipartDecoder("bound")
        events = decoder.feed(body[:end])

        with pytest.raises(ProtocolError, match="without its closing boundary") as caught:
            decoder.close()
        assert caught.value.retryable
        assert MultipartEnd() not in events
        assert sum(event == PartEnd() for event in events) <= 1


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "before its first boundary"),
        (b"--bound\r\nContent-", "inside the headers of part 1"),
        (PART + b"1\r\n" + PART + b"2", "inside the content of part 2"),
    ],
)
def test_the_error_for_a_cut_body_says_where_it_ends(body: bytes, where: str) -> None:
    decoder = MultipartDecoder("bound")
    decoder.feed(body)

    with pytest.raises(ProtocolError, match=where):
        decoder.close()


def test_events_come_in_order_and_as_early_as_they_can() -> None:
    decoder = MultipartDecoder("bound")

    assert decoder.feed(PART[:-1]) == []
    assert decoder.feed(b"\n") == [PartBegin(DICOM)]
    assert decoder.feed(b"abc\r") == [PartData(b"abc")]
    assert decoder.feed(b"\rX") == [PartData(b"\r"), PartData(b"\rX")]
    assert decoder.feed(END[:-1]) == []
    assert decoder.feed(b"-") == [PartEnd(), MultipartEnd()]
    assert decoder.feed(PART) == []
    decoder.close()


def test_chunks_of_bytes_are_handed_on_without_a_copy() -> None:
    decoder = MultipartDecoder("bound")
    decoder.feed(PART + b".")
    chunk = bytes(1000)

    [event] = decoder.feed(chunk)

    assert isinstance(event, PartData)
    assert event.data is chunk


def test_the_buffer_of_a_memoryview_may_be_used_again() -> None:
    decoder = MultipartDecoder("bound")
    decoder.feed(PART + b".")
    buffer = bytearray(b"abc")

    [event] = decoder.feed(memoryview(buffer))
    buffer[:] = b"xyz"

    assert event == PartData(b"abc")


NEAR = b"\r\n--0123456789abcde"
HOSTILE = {
    "random": random.Random(7).randbytes(1 << 18),
    "line ends": b"\r\n" * (1 << 17),
    "dashes": b"-" * (1 << 18),
    "near boundaries": (NEAR + b"\0") * ((1 << 18) // 21),
    "longer tokens": (NEAR + b"fX") * ((1 << 18) // 22),
    "cut boundaries": b"".join(NEAR[: cut % 22] for cut in range(1 << 14)),
}


@pytest.mark.parametrize("pattern", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("size", [1 << 18, 4099])
def test_content_is_never_more_than_a_boundary_behind(pattern: bytes, size: int) -> None:
    boundary = "0123456789abcdef"
    collector = inside_a_part(boundary)
    decoder, fed, given = collector.decoder, 0, 0
    for start in range(0, len(pattern), size):
        chunk = pattern[start : start + size]
        events = decoder.feed(chunk)
        fed += len(chunk)
        given += sum(len(each.data) for each in events if isinstance(each, PartData))
        # Held back at most: CRLF, two dashes, the boundary, and a CR that may end its line.
        assert fed - given <= len(boundary) + 5
        assert len(events) <= 2


def test_a_part_of_50_mb_passes_through_without_being_kept() -> None:
    decoder = inside_a_part("0123456789abcdef").decoder
    chunk = HOSTILE["cut boundaries"]
    fed = 0
    tracemalloc.start()
    try:
        while fed < 50_000_000:
            decoder.feed(chunk)
            fed += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 64 * 1024


def test_the_framing_is_what_a_stow_server_expects() -> None:
    framing = StowFraming("bound")

    assert framing.content_type == ('multipart/related; type="application/dicom"; boundary=bound')
    assert framing.head(0) == b"--bound\r\nContent-Type: application/dicom\r\n\r\n"
    assert framing.head(1) == b"\r\n--bound\r\nContent-Type: application/dicom\r\n\r\n"
    assert framing.tail == b"\r\n--bound--\r\n"
    assert framing.content_length([3, 0]) == 44 + 3 + 46 + 0 + 13


def test_a_framing_without_instances_decodes_to_none() -> None:
    framing = StowFraming("bound")

    assert framing.content_length([]) == len(framing.tail)
    assert decode_both_ways(framing.tail) == []


@pytest.mark.parametrize(
    "boundary", ["", "x" * 71, "a b", "a/b", 'a"b', "a\r\nb", "caf\xe9", "a\n"]
)
def test_a_framing_needs_a_boundary_that_is_a_token(boundary: str) -> None:
    with pytest.raises(ValueError, match="not a boundary"):
        StowFraming(boundary)
