"""Inflating what a server sends: whole, in small pieces, and never more than allowed."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvue_async.errors import ProtocolError
from milvue_async.protocol.inflate import BoundedInflater

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
TEXT = b"a study, read and read again, " * 40


def inflate(chunks: list[bytes], max_bytes: int = 1 << 30, wbits: int = 31) -> bytes:
    inflater = BoundedInflater(max_bytes, wbits=wbits)
    inflated = b"".join(piece for chunk in chunks for piece in inflater.inflate(chunk))
    inflater.close()
    return inflated


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


members = st.lists(
    st.one_of(st.binary(max_size=300), st.integers(0, 200_000).map(bytes)), min_size=1, max_size=4
)


@settings(deadline=None)
@given(members, st.integers(0, 9), st.integers(0, 3), st.lists(st.integers(min_value=0)))
def test_any_split_inflates_as_the_whole(
    contents: list[bytes], level: int, padding: int, cuts: list[int]
) -> None:
    body = b"".join(gzip.compress(each, level) + bytes(padding) for each in contents)
    edges = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    chunks = [body[start:end] for start, end in pairwise(edges)]

    assert inflate(chunks) == gzip.decompress(body) == b"".join(contents)


@settings(deadline=None)
@given(st.binary(max_size=500), st.integers(0, 600))
def test_the_cap_lets_through_as_much_and_no_more(content: bytes, max_bytes: int) -> None:
    chunks = [gzip.compress(content)]
    if len(content) <= max_bytes:
        assert inflate(chunks, max_bytes) == content
    else:
        with pytest.raises(ProtocolError, match=f"more than the {max_bytes} bytes"):
            inflate(chunks, max_bytes)


def test_the_cap_counts_all_members_together() -> None:
    chunks = [gzip.compress(bytes(10))] * 3

    assert inflate(chunks, 30) == bytes(30)
    with pytest.raises(ProtocolError, match="more than the 29 bytes"):
        inflate(chunks, 29)


def test_a_bomb_comes_out_in_small_pieces_and_stops_at_the_cap() -> None:
    bomb = gzip.compress(bytes(64 * MIB))
    inflater = BoundedInflater(20 * MIB)
    given = 0
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="more than"):  # noqa: PT012 - counts up to the error
            for piece in inflater.inflate(bomb):
                assert 0 < len(piece) <= MIB
                given += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 19 * MIB <= given <= 20 * MIB
    assert peak < 4 * MIB


def test_a_large_body_that_does_not_shrink_passes_whole() -> None:
    content = random.Random(3).randbytes(3 * MIB)

    assert inflate([gzip.compress(content)]) == content
    assert inflate([raw_deflate(content)], wbits=-15) == content


@pytest.mark.parametrize(
    ("compressed", "wbits"),
    [(gzip.compress(TEXT), 31), (zlib.compress(TEXT), 15), (raw_deflate(TEXT), -15)],
    ids=["gzip", "zlib", "raw"],
)
class TestEveryWrapper:
    def test_is_inflated(self, compressed: bytes, wbits: int) -> None:
        assert inflate([compressed], wbits=wbits) == TEXT
        assert inflate([bytes([each]) for each in compressed], wbits=wbits) == TEXT

    def test_cut_at_any_byte_is_an_error_worth_a_retry(self, compressed: bytes, wbits: int) -> None:
        for end in range(len(compressed)):
            inflater = BoundedInflater(MIB, wbits=wbits)
            list(inflater.inflate(compressed[:end]))

            with pytest.raises(ProtocolError, match="before it is complete") as caught:
                inflater.close()
            assert caught.value.retryable

    @pytest.mark.parametrize("apart", [False, True], ids=["in one chunk", "in the next chunk"])
    def test_followed_by_something_else_is_refused(
        self, compressed: bytes, wbits: int, *, apart: bool
    ) -> None:
        garbage = b"not compressed"
        chunks = [compressed, garbage] if apart else [compressed + garbage]

        with pytest.raises(ProtocolError, match=r"corrupt|something else"):
            inflate(chunks, wbits=wbits)


@pytest.mark.parametrize("size", [MIB, MIB + 1, MIB + 100, 2 * MIB])
def test_a_body_that_ends_near_the_edge_of_a_piece_comes_whole(size: int) -> None:
    # Raw deflate has no checksum behind it: its end may wait inside zlib with all input taken.
    assert inflate([raw_deflate(bytes(size))], wbits=-15) == bytes(size)


@pytest.mark.parametrize(("compress", "wbits"), [(zlib.compress, 15), (raw_deflate, -15)])
def test_only_gzip_may_have_a_second_stream(compress: Callable[[bytes], bytes], wbits: int) -> None:
    with pytest.raises(ProtocolError, match="something else"):
        inflate([compress(TEXT), compress(TEXT)], wbits=wbits)


def test_a_second_member_cut_short_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="before it is complete"):
        inflate([gzip.compress(TEXT) + gzip.compress(TEXT)[:-1]])


@pytest.mark.parametrize("at", [0, 1, 15, -8, -1], ids=str)
def test_corrupt_data_is_refused(at: int) -> None:
    compressed = bytearray(gzip.compress(TEXT))
    compressed[at] ^= 0xFF
    inflater = BoundedInflater(MIB)

    with pytest.raises(ProtocolError, match="corrupt"):
        list(inflater.inflate(bytes(compressed)))
    with pytest.raises(ProtocolError, match="refused before"):
        list(inflater.inflate(gzip.compress(TEXT)))
    with pytest.raises(ProtocolError, match="refused before"):
        inflater.close()


def test_what_an_abandoned_iterator_left_comes_with_the_next() -> None:
    content = bytes(range(256)) * 20_000
    compressed = gzip.compress(content)
    half = len(compressed) // 2
    inflater = BoundedInflater(len(content))

    first = next(inflater.inflate(compressed[:half]))
    rest = b"".join(inflater.inflate(memoryview(compressed)[half:]))

    inflater.close()
    assert first + rest == content


def test_closing_before_all_was_read_is_an_error() -> None:
    inflater = BoundedInflater(MIB)
    assert b"".join(inflater.inflate(gzip.compress(TEXT))) == TEXT
    inflater.inflate(gzip.compress(TEXT))

    with pytest.raises(ProtocolError, match="before it is complete"):
        inflater.close()
