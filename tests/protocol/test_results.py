"""Every form that a WADO answer may take, cut into chunks anywhere."""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async import ProtocolError
from milvue_async.protocol.models import InferenceStatusEnum
from milvue_async.protocol.results import (
    ResultBegin,
    ResultData,
    ResultDecoder,
    ResultEnd,
    ResultStatus,
)

BOUNDARY = "frontier"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
RUNNING = {"StudyInstanceUID": "1.2", "status": "running", "version": "1"}
LIMIT = 1 << 20

DICOM = ("application/dicom", "application/dicom; transfer-syntax=*", "APPLICATION/DICOM", None)
CONTENTS = st.binary(max_size=300) | st.just(b"\r\n--frontie\r\n--") | st.just(b"")
PARTS = st.lists(st.tuples(st.sampled_from([*DICOM, "application/dicom+gzip"]), CONTENTS))


@dataclass
class Decoded:
    results: list[bytes] = field(default_factory=list)
    statuses: list[InferenceStatusEnum] = field(default_factory=list)
    is_open: bool = False


def part(content_type: str | None, content: bytes) -> bytes:
    header = "" if content_type is None else f"Content-Type: {content_type}\r\n"
    return f"--{BOUNDARY}\r\n{header}\r\n".encode() + content + b"\r\n"


def body_of(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def encoded(content_type: str | None, content: bytes) -> bytes:
    return gzip.compress(content) if content_type == "application/dicom+gzip" else content


def decode(
    body: bytes,
    content_type: str | None = MULTIPART,
    *,
    cuts: list[int] | None = None,
    limit: int = LIMIT,
    is_signed: bool = False,
) -> Decoded:
    """Feed a body in pieces; what came out, in the order in which events must stand."""
    headers = {} if content_type is None else {"content-type": content_type}
    decoder = ResultDecoder(headers, max_result_bytes=limit, is_signed=is_signed)
    decoded = Decoded()
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts or [])})
    for start, end in itertools.pairwise(places):
        for event in decoder.feed(body[start:end]):
            take(event, decoded)
    for event in decoder.close():
        take(event, decoded)
    assert not decoded.is_open
    return decoded


def take(event: object, decoded: Decoded) -> None:
    if isinstance(event, ResultStatus):
        decoded.statuses.append(event.status.status)
    elif isinstance(event, ResultBegin):
        assert not decoded.is_open
        decoded.is_open = True
        decoded.results.append(b"")
    elif isinstance(event, ResultData):
        assert decoded.is_open
        decoded.results[-1] += event.data
    else:
        assert isinstance(event, ResultEnd)
        assert decoded.is_open
        decoded.is_open = False


@given(PARTS, st.lists(st.integers(0, 10_000), max_size=20))
def test_a_multipart_of_dicom_and_gzipped_dicom_is_read_at_any_cut(
    parts: list[tuple[str | None, bytes]], cuts: list[int]
) -> None:
    body = body_of(*(part(kind, encoded(kind, content)) for kind, content in parts))
    decoded = decode(body, cuts=cuts)
    assert decoded.results == [content for _, content in parts]
    assert decoded.statuses == []


@given(CONTENTS, st.lists(st.integers(0, 1000), max_size=10), st.sampled_from(DICOM[:3]))
def test_one_dicom_object_is_a_result(content: bytes, cuts: list[int], kind: str) -> None:
    assert decode(content, kind, cuts=cuts).results == [content]


@given(CONTENTS, st.lists(st.integers(0, 1000), max_size=10))
def test_one_gzipped_dicom_object_is_a_result(content: bytes, cuts: list[int]) -> None:
    body = gzip.compress(content)
    assert decode(body, "application/dicom+gzip", cuts=cuts).results == [content]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
@given(cuts=st.lists(st.integers(0, 1000), max_size=10))
def test_a_status_as_plain_json_is_read_at_any_cut(kind: str, cuts: list[int]) -> None:
    decoded = decode(json.dumps(RUNNING).encode(), kind, cuts=cuts)
    assert decoded.statuses == [InferenceStatusEnum.RUNNING]
    assert decoded.results == []


@given(cuts=st.lists(st.integers(0, 1000), max_size=10))
def test_a_status_inside_a_multipart_is_read_beside_results(cuts: list[int]) -> None:
    status = json.dumps({**RUNNING, "status": "unheard_of"}).encode()
    body = body_of(part("application/json", status), part("application/dicom", b"D"))
    decoded = decode(body, cuts=cuts)
    assert decoded.statuses == ["unheard_of"]
    assert decoded.results == [b"D"]


@pytest.mark.parametrize("length", [1, 38, 70, 200])
@pytest.mark.parametrize("end", ["", "\r\n"])
def test_an_empty_result_is_only_a_closing_boundary(length: int, end: str) -> None:
    boundary = "b" * length
    body = f"--{boundary}--{end}".encode()
    assert decode(body, f"multipart/related; boundary={boundary}") == Decoded()


def test_a_part_of_an_unknown_kind_beside_results_is_passed_over() -> None:
    body = body_of(part("text/plain", b"hello"), part("application/dicom", b"D"))
    assert decode(body).results == [b"D"]


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "image/png", "no media type"])
def test_parts_of_an_unknown_kind_alone_are_no_empty_result(kind: str) -> None:
    with pytest.raises(ProtocolError, match="neither DICOM nor a status"):
        decode(body_of(part(kind, b"<h1>Bad Gateway</h1>")))


@pytest.mark.parametrize("content_type", ["text/html", "image/png", "", None, "x", "text/plain"])
def test_an_answer_that_is_no_dicom_is_refused(content_type: str | None) -> None:
    with pytest.raises(ProtocolError):
        decode(b"<h1>hello</h1>", content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/octet-stream",
        "Binary/Octet-Stream",
        "application/octet-stream; charset=binary",
        "application/dicom",
    ],
)
def test_object_storage_need_not_name_what_it_holds(content_type: str | None) -> None:
    assert decode(b"D", content_type, is_signed=True).results == [b"D"]


def test_object_storage_that_answers_with_a_page_gives_no_result() -> None:
    with pytest.raises(ProtocolError, match="text/html"):
        decode(b"<h1>hello</h1>", "text/html", is_signed=True)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 1000), max_size=5))
def test_a_multipart_that_is_cut_short_is_an_error(length: int, cuts: list[int]) -> None:
    whole = body_of(part("application/dicom", b"D" * 50), part("application/dicom", b"E"))
    cut = whole[: length % (len(whole) - 3)]
    with pytest.raises(ProtocolError) as caught:
        decode(cut, cuts=cuts)
    assert caught.value.retryable


@given(st.integers(0, 10_000))
def test_gzipped_dicom_that_is_cut_short_is_an_error(length: int) -> None:
    whole = gzip.compress(b"D" * 50)
    with pytest.raises(ProtocolError):
        decode(whole[: length % len(whole)], "application/dicom+gzip")


@pytest.mark.parametrize("kind", ["application/dicom", "application/dicom+gzip"])
@pytest.mark.parametrize("in_parts", [True, False])
def test_each_result_may_have_so_many_bytes_and_no_more(kind: str, *, in_parts: bool) -> None:
    def body(length: int) -> bytes:
        content = encoded(kind, b"D" * length)
        return body_of(part(kind, content), part(kind, content)) if in_parts else content

    content_type = MULTIPART if in_parts else kind
    assert decode(body(100), content_type, limit=100).results[0] == b"D" * 100
    with pytest.raises(ProtocolError):
        decode(body(101), content_type, limit=100)


def test_a_little_that_inflates_to_much_is_stopped_in_time() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    decoder = ResultDecoder({"content-type": "application/dicom+gzip"}, max_result_bytes=1 << 20)
    seen = 0

    def read() -> None:
        nonlocal seen
        for event in decoder.feed(bomb):
            if isinstance(event, ResultData):
                seen += len(event.data)

    with pytest.raises(ProtocolError):
        read()
    assert seen <= 1 << 20


@pytest.mark.parametrize(
    "status",
    [b"", b"{", b"[]", b'{"status": "running"}', b"\xff", b"[" * 10_000, b" " * (2 << 20)],
)
@pytest.mark.parametrize("in_parts", [True, False])
def test_json_that_is_no_status_is_an_error_that_shows_nothing_of_it(
    status: bytes, *, in_parts: bool
) -> None:
    body = body_of(part("application/json", status)) if in_parts else status
    with pytest.raises(ProtocolError, match="status") as caught:
        decode(body, MULTIPART if in_parts else "application/json")
    assert caught.value.__context__ is None


@given(st.binary(max_size=200), st.lists(st.integers(0, 1000), max_size=5))
def test_no_body_makes_the_decoder_fail_in_another_way(body: bytes, cuts: list[int]) -> None:
    for content_type in (MULTIPART, "application/dicom+gzip", "application/json"):
        try:
            decode(body, content_type, cuts=cuts)
        except ProtocolError:
            continue


def test_the_bytes_of_a_result_are_in_no_repr() -> None:
    assert "patient" not in repr(ResultData(b"patient"))
