"""DICOM results as they stream in, in whichever form the server chose.

An answer to WADO is multipart/related with DICOM parts, some of them gzipped perhaps, or with
the status as a JSON part among them; or one DICOM object; or the status as plain JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pydantic
from pydantic import TypeAdapter

from milvue_async.errors import ProtocolError
from milvue_async.protocol.content_type import (
    PartKind,
    multipart_boundary,
    parse_media_type,
    part_kind,
)
from milvue_async.protocol.inflate import BoundedInflater
from milvue_async.protocol.models import GetStudyResponseV3
from milvue_async.protocol.multipart import MultipartDecoder, PartBegin, PartData, PartEnd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ResultBegin",
    "ResultData",
    "ResultDecoder",
    "ResultEnd",
    "ResultEvent",
    "ResultStatus",
]

_MAX_STATUS_BYTES = 1 << 20
_STATUS = TypeAdapter(GetStudyResponseV3)
_OPAQUE = {"", "application/octet-stream", "binary/octet-stream"}


@dataclass(frozen=True, slots=True)
class ResultBegin:
    """A DICOM result begins."""


@dataclass(frozen=True, slots=True)
class ResultData:
    """Some bytes of it, inflated."""

    data: bytes | memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResultEnd:
    """It ended as its framing says. Whether it is a whole DICOM object is for the reader."""


@dataclass(frozen=True, slots=True)
class ResultStatus:
    """The server's status in place of results, or beside them."""

    status: GetStudyResponseV3


ResultEvent = ResultBegin | ResultData | ResultEnd | ResultStatus


class _Content:
    """The content of one part, or of a body that is no multipart."""

    def __init__(self, kind: PartKind, max_bytes: int) -> None:
        self._kind = kind
        self._left = max_bytes
        self._json = bytearray()
        self._inflater = BoundedInflater(max_bytes) if kind is PartKind.DICOM_GZIP else None
        self._is_dicom = kind in {PartKind.DICOM, PartKind.DICOM_GZIP}

    def begin(self) -> Iterator[ResultEvent]:
        if self._is_dicom:
            yield ResultBegin()

    def feed(self, data: bytes | memoryview) -> Iterator[ResultEvent]:
        if self._inflater is not None:
            for piece in self._inflater.inflate(data):
                yield ResultData(piece)
        elif self._is_dicom:
            self._count(len(data))
            yield ResultData(data)
        elif self._kind is PartKind.JSON:
            self._json += data
            if len(self._json) > _MAX_STATUS_BYTES:
                raise ProtocolError(f"the status is longer than {_MAX_STATUS_BYTES} bytes")

    def end(self) -> Iterator[ResultEvent]:
        if self._inflater is not None:
            self._inflater.close()
        if self._is_dicom:
            yield ResultEnd()
        elif self._kind is PartKind.JSON:
            yield ResultStatus(_read_status(bytes(self._json)))

    def _count(self, length: int) -> None:
        self._left -= length
        if self._left < 0:
            raise ProtocolError("a result is larger than max_result_bytes allows")


class ResultDecoder:
    """Turns the body of an answer into results, without ever keeping one whole.

    Args:
        headers: Of the answer, names in lower case.
        max_result_bytes: Largest DICOM result, inflated, in bytes.
        is_signed: Whether it comes from object storage, which may call DICOM
            ``application/octet-stream`` or not name it.

    Raises:
        ProtocolError: The Content-Type is none that results come in.
    """

    def __init__(
        self, headers: Mapping[str, str], *, max_result_bytes: int, is_signed: bool = False
    ) -> None:
        self._max_result_bytes = max_result_bytes
        self._multipart: MultipartDecoder | None = None
        self._content: _Content | None = None
        self._has_begun = False
        self._has_known = False
        self._has_unknown = False
        content_type = headers.get("content-type", "")
        if is_signed and content_type.partition(";")[0].strip().lower() in _OPAQUE:
            self._content = _Content(PartKind.DICOM, max_result_bytes)
            return
        media_type = parse_media_type(content_type)
        if media_type.type.startswith("multipart/"):
            self._multipart = MultipartDecoder(multipart_boundary(media_type))
            return
        kind = part_kind({"content-type": content_type})
        if kind is PartKind.OTHER:
            raise ProtocolError(f"the answer is {media_type.type}, not DICOM")
        self._content = _Content(kind, max_result_bytes)

    def feed(self, data: bytes) -> Iterator[ResultEvent]:
        """The events of the next bytes.

        Raises:
            ProtocolError: The framing, the compression or a status is malformed, or too large.
        """
        if self._multipart is None:
            yield from self._begin_body()
            yield from self._feed_content(data)
            return
        for event in self._multipart.feed(data):
            if isinstance(event, PartBegin):
                yield from self._begin_part(part_kind(event.headers))
            elif isinstance(event, PartData):
                yield from self._feed_content(event.data)
            elif isinstance(event, PartEnd):
                yield from self._end_content()

    def close(self) -> Iterator[ResultEvent]:
        """The events of the end of the body.

        Raises:
            ProtocolError: The body ended before its framing did, or has nothing but parts of a
                kind that is not known: whatever they say, it is not that the result is empty.
        """
        if self._multipart is not None:
            self._multipart.close()
            if self._has_unknown and not self._has_known:
                raise ProtocolError("the answer has neither DICOM nor a status in it")
        else:
            yield from self._begin_body()
            yield from self._end_content()

    def _begin_part(self, kind: PartKind) -> Iterator[ResultEvent]:
        self._has_unknown = self._has_unknown or kind is PartKind.OTHER
        self._has_known = self._has_known or kind is not PartKind.OTHER
        self._content = _Content(kind, self._max_result_bytes)
        yield from self._content.begin()

    def _begin_body(self) -> Iterator[ResultEvent]:
        if not self._has_begun and self._content is not None:
            self._has_begun = True
            yield from self._content.begin()

    def _feed_content(self, data: bytes | memoryview) -> Iterator[ResultEvent]:
        if self._content is not None:
            yield from self._content.feed(data)

    def _end_content(self) -> Iterator[ResultEvent]:
        content, self._content = self._content, None
        if content is not None:
            yield from content.end()


def _read_status(body: bytes) -> GetStudyResponseV3:
    try:
        return _STATUS.validate_json(body)
    except pydantic.ValidationError:
        pass
    raise ProtocolError("the answer's JSON is no status of a study")
