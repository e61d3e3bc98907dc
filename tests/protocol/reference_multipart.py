"""A one-shot multipart parser, written apart from the decoder: the whole body, split by `re`."""

from __future__ import annotations

import re
from typing import TypeAlias

from milvue_async.errors import ProtocolError
from milvue_async.protocol.multipart import (
    MultipartDecoder,
    MultipartEnd,
    PartBegin,
    PartData,
    PartEnd,
)

Parts: TypeAlias = list[tuple[dict[str, str], bytes]]

_HEADER = rb"([\w!#$%&'*+\-.^`|~]+):((?:[\t\x20-\x7e\x80-\xff]|\r\n[ \t])*)\r\n"


def reference_parse(body: bytes, boundary: str) -> Parts | None:
    """The parts of a whole body, or None where it is malformed or truncated."""
    delimiter = rb"\r\n--" + re.escape(boundary.encode()) + rb"(--|[ \t]{0,256}(?=\r\n)|[ \t]{257})"
    _preamble, *pieces = re.split(delimiter, b"\r\n" + body)
    endings, between = pieces[0::2], pieces[1::2]
    parts: Parts = []
    for ending, part in zip(endings, between, strict=True):
        if ending == b"--":
            return parts
        parsed = _reference_part(part)
        if len(ending) > 256 or parsed is None:
            return None
        parts.append(parsed)
    return None


def _reference_part(part: bytes) -> tuple[dict[str, str], bytes] | None:
    # The CRLF of the blank line may be the one that begins the next delimiter.
    block, blank_line, content = part.partition(b"\r\n\r\n")
    if blank_line:
        block += b"\r\n"
    if not re.fullmatch(rb"\r\n(?:%b)*" % _HEADER, block):
        return None
    headers: dict[str, str] = {}
    for name, raw in re.findall(_HEADER, block):
        value = re.sub(rb"\r\n[ \t]+", b" ", raw).strip(b" \t").decode("latin-1")
        key = name.decode().lower()
        headers[key] = ", ".join([headers[key], value] if key in headers else [value])
    return headers, content


class Collector:
    """Feeds a decoder and puts its events together, insisting on their order."""

    def __init__(self, decoder: MultipartDecoder) -> None:
        self.decoder = decoder
        self.parts: Parts = []
        self.content_bytes = 0
        self.ended = False
        self.inside_part = False

    def feed(self, chunk: bytes | memoryview) -> None:
        for event in self.decoder.feed(chunk):
            assert not self.ended
            assert self.inside_part == isinstance(event, PartData | PartEnd)
            match event:
                case PartBegin(headers):
                    self.parts.append((dict(headers), b""))
                    self.inside_part = True
                case PartData(data):
                    assert len(data) > 0
                    headers, content = self.parts[-1]
                    self.parts[-1] = (headers, content + bytes(data))
                    self.content_bytes += len(data)
                case PartEnd():
                    self.inside_part = False
                case MultipartEnd():
                    self.ended = True

    def feed_all(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self.feed(chunk)

    def close(self) -> Parts:
        self.decoder.close()
        assert self.ended
        return self.parts


def decode(chunks: list[bytes], boundary: str) -> Parts:
    """The parts of a body that comes in these chunks, by the decoder."""
    collector = Collector(MultipartDecoder(boundary))
    collector.feed_all(chunks)
    return collector.close()


def decode_or_none(chunks: list[bytes], boundary: str) -> Parts | None:
    """As `reference_parse` tells it."""
    try:
        return decode(chunks, boundary)
    except ProtocolError:
        return None


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]
