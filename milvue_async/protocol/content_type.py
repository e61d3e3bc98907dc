"""Media types (RFC 9110 section 8.3), their multipart boundary, and what kind a part is of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from milvue_async.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MediaType",
    "PartKind",
    "multipart_boundary",
    "parse_media_type",
    "part_kind",
    "validate_boundary",
]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110's grammar rule of this name
_QUOTED = r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*)"'
# Wider than a token, as servers leave `application/dicom` and `----=_Part_1` without quotes.
_UNQUOTED = r'([^\x00-\x20\x7f;"]*)'
_JUNK = r'(?:[^;"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))*'

_TYPE = re.compile(rf"[ \t]*({_TOKEN}/{_TOKEN})[ \t]*(?=;|\Z)")
# One match for each semicolon; its first group is None where no parameter can be made of it.
_PARAMETER = re.compile(
    rf";[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:{_QUOTED}|{_UNQUOTED})[ \t]*(?=;|\Z)|{_JUNK})",
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_BOUNDARY = re.compile(r"[ -~]{1,256}")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class MediaType:
    """The value of a Content-Type.

    Attributes:
        type: Type and subtype in lower case, such as ``multipart/related``.
        params: Parameters without their quotes; names in lower case, values as they came. Where a
            name is repeated its first value stands.
    """

    type: str
    params: Mapping[str, str]


class PartKind(Enum):
    """What the content of a part, or of a whole body, is to be read as."""

    DICOM = "application/dicom"
    DICOM_GZIP = "application/dicom+gzip"
    JSON = "application/json"
    OTHER = "other"


def parse_media_type(value: str) -> MediaType:
    """Parse a Content-Type (RFC 9110 section 8.3.1).

    Accepted beyond the grammar: blanks around ``=``, a trailing ``;``, and unquoted values with
    characters such as ``/`` and ``=`` in them. A parameter that cannot be read is left out, so
    that a body which needs no parameter, such as JSON, is not lost over it.

    Raises:
        ProtocolError: It does not begin with a type and a subtype.
    """
    match = _TYPE.match(value)
    if match is None:
        msg = f"the Content-Type {_shown(value)} is no media type"
        raise ProtocolError(msg)
    params: dict[str, str] = {}
    for name, quoted, unquoted in _PARAMETER.findall(value, match.end()):
        if name:
            params.setdefault(name.lower(), unquoted or _QUOTED_PAIR.sub(r"\1", quoted))
    return MediaType(match[1].lower(), MappingProxyType(params))


def multipart_boundary(media_type: MediaType) -> str:
    """Return the boundary of a ``multipart/*`` media type.

    Raises:
        ProtocolError: It is no multipart type, or its boundary is missing or unusable.
    """
    if not media_type.type.startswith("multipart/"):
        msg = f"a multipart answer was expected, not {_shown(media_type.type)}"
        raise ProtocolError(msg)
    boundary = media_type.params.get("boundary")
    if boundary is None:
        msg = f"the Content-Type {_shown(media_type.type)} has no readable boundary"
        raise ProtocolError(msg)
    return validate_boundary(boundary)


def validate_boundary(boundary: str) -> str:
    """Return ``boundary`` when a decoder can look for it.

    RFC 2046 allows 70 characters of a smaller set; what servers send is wider, so any 1 to 256
    printable ASCII characters are taken.

    Raises:
        ProtocolError: It is empty, too long, or has a control or non-ASCII character.
    """
    if not _BOUNDARY.fullmatch(boundary):
        msg = f"the boundary {_shown(boundary)} is not 1 to 256 printable ASCII characters"
        raise ProtocolError(msg)
    return boundary


def part_kind(headers: Mapping[str, str]) -> PartKind:
    """Tell from its Content-Type how the content of a part is to be read.

    A part without Content-Type counts as DICOM: RFC 2046 section 5.1 would make it text/plain,
    but the multipart/related answers read here have ``type="application/dicom"`` as their root
    (PS3.18 section 8.7.1), text is never asked for, and a part which is not DICOM after all fails
    when it is read. ``+json`` types, such as ``application/dicom+json``, count as JSON. A
    Content-Type that is no media type gives `PartKind.OTHER`.

    Args:
        headers: The part's headers, their names in lower case.
    """
    value = headers.get("content-type")
    if value is None:
        return PartKind.DICOM
    try:
        media_type = parse_media_type(value).type
    except ProtocolError:
        return PartKind.OTHER
    if media_type.endswith("+json"):
        return PartKind.JSON
    return _KINDS.get(media_type, PartKind.OTHER)


_KINDS = {kind.value: kind for kind in (PartKind.DICOM, PartKind.DICOM_GZIP, PartKind.JSON)}


def _shown(value: str) -> str:
    return repr(value)[:_SHOWN]
