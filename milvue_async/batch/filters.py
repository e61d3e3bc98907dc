"""Which instances are sent, by the values of their elements.

pydicom decodes the values, by way of `milvue_async.dicom`. They belong to patients: no message
here has one, nor the value that it was to be compared to.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

from milvue_async import dicom
from milvue_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Condition", "Filters"]

_EXPRESSION = re.compile(r"\s*([^=~]*?)\s*([=~])(.*)", re.DOTALL)
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),? ?([0-9A-Fa-f]{4})\)?")
_KEYWORD = re.compile(r"(?![0-9A-Fa-f]+\Z)[A-Za-z][0-9A-Za-z]*")  # pydicom takes FACE for a number
_SHOWN = 64
_MODALITY = 0x00080060
_META_GROUP, _PIXEL_GROUP = 0x0002, 0x7FE0
_MAX_HEADER = 1 << 26  # bytes; it is held in memory


@dataclass(frozen=True, slots=True)
class Condition:
    """One expression.

    Attributes:
        option: ``--where``, or ``--where-not``.
        name: The element as the expression has it.
        tag: Its tag.
        operator: ``=`` for the same value, ``~`` for a regular expression that finds something.
        operand: What the value is compared to.
    """

    option: str
    name: str
    tag: int
    operator: str
    operand: str

    @property
    def is_negated(self) -> bool:
        """Whether an instance that it holds for is left out."""
        return self.option == "--where-not"

    def holds(self, values: Iterable[str]) -> bool:
        """Whether it does for any of the values of an element; never where there is none."""
        if self.operator == "=":
            return self.operand in values
        return any(re.search(self.operand, value) for value in values)


@dataclass(frozen=True, slots=True)
class Filters:
    """Expressions of which every ``--where`` must hold for an instance, and no ``--where-not``.

    Attributes:
        conditions: In the order they are looked at. None leaves everything in.
    """

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, where: Iterable[str], where_not: Iterable[str]) -> Self:
        """Read expressions such as ``Modality=DX`` and ``PatientName~^TEST``; blocking.

        An element is named by its DICOM keyword or its tag, ``(0008,0060)`` or ``00080060``. A
        value is the same, or has something in it that the regular expression finds. Of several
        values any counts, and so does each component group of a person's name. An element that
        is missing has no value; one that is there and empty has an empty one.

        Args:
            where: What must hold.
            where_not: What must not.

        Raises:
            ConfigurationError: An expression is none; says why, in one line.
        """
        options = (("--where", where), ("--where-not", where_not))
        return cls(tuple(_parse(option, each) for option, some in options for each in some))

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The filters whose `text` this is."""
        return cls(tuple(Condition(*fields) for fields in json.loads(line)))

    @property
    def text(self) -> str:
        """All of it on one line of ASCII; has the operands, so it is for no log."""
        return json.dumps([
            (each.option, each.name, each.tag, each.operator, each.operand)
            for each in self.conditions
        ])  # fmt: skip

    @property
    def need_values(self) -> bool:
        """Whether they look at more than the modality."""
        return any(each.tag != _MODALITY for each in self.conditions)

    def refused_by(self, header: dicom.InstanceHeader, content: Path | bytes) -> str:
        """The first expression that leaves an instance out, without its operand; or nothing.

        Args:
            header: Of the instance.
            content: The file, or its bytes. It is read again where the header has too little.

        Raises:
            DicomError: pydicom cannot read it, or not decode a value.
            OSError: It cannot be read.
        """
        # A modality that is no code string is not in the header.
        is_enough = header.modality and not self.need_values
        dataset = None if is_enough or not self.conditions else _read_dataset(content)
        for each in self.conditions:
            values = [header.modality] if dataset is None else list(_values(dataset, each.tag))
            if each.holds(values) == each.is_negated:
                return f"{each.option} {each.name}"
        return ""


def _parse(option: str, expression: str) -> Condition:
    parts = _EXPRESSION.fullmatch(expression)
    if parts is None:
        msg = f"{option} takes NAME=VALUE or NAME~EXPRESSION, such as Modality=DX: no = or ~ in it"
        raise ConfigurationError(msg)
    name, operator, operand = parts.groups()
    tag = _tag_of(option, name)
    if operator == "=":
        return Condition(option, name, tag, operator, _stripped(operand))
    # Python's own words may quote the expression, which may have a patient's name in it.
    try:
        re.compile(operand)
    except (re.error, RecursionError, OverflowError) as error:
        where = _position(error)
    else:
        return Condition(option, name, tag, operator, operand)
    raise ConfigurationError(f"{option} {name}~: what follows is no regular expression{where}")


def _position(error: Exception) -> str:
    position = error.pos if isinstance(error, re.error) else None
    return "" if position is None else f" from its character {position + 1} on"


def _tag_of(option: str, name: str) -> int:
    number = _TAG.fullmatch(name)
    if number is not None:
        tag, vr = int(number[1] + number[2], 16), ""
    else:
        tag, vr = _look_up(option, name)
    if tag >> 16 == _PIXEL_GROUP or vr == "SQ":
        raise ConfigurationError(f"{option} {name}: not an element with values to compare")
    return tag


def _look_up(option: str, keyword: str) -> tuple[int, str]:
    """Tag and VR of a keyword, from pydicom's data dictionary."""
    if _KEYWORD.fullmatch(keyword):
        with suppress(ValueError):
            element = dicom.Dataset().setdefault(keyword)
            return int(element.tag), element.VR
    shown = repr(keyword[:_SHOWN])
    msg = f"{option}: {shown} is no DICOM keyword, and no tag such as (0008,0060)"
    raise ConfigurationError(msg)


def _read_dataset(content: Path | bytes) -> dicom.Dataset:
    pieces = dicom.scan_instance(content).pixel_less
    size = sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces)
    if size > _MAX_HEADER:
        msg = f"without its pixels it has more than {_MAX_HEADER >> 20} MiB, too many to filter by"
        raise dicom.DicomError(msg)
    with _open(content) as file:
        return dicom.read_dataset(b"".join(_read(file, piece) for piece in pieces))


def _open(content: Path | bytes) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _read(file: BinaryIO, piece: dicom.Segment | bytes) -> bytes:
    if isinstance(piece, bytes):
        return piece
    file.seek(piece.offset)
    return file.read(piece.length)


def _values(dataset: dicom.Dataset, tag: int) -> list[str]:
    """The values of an element as text."""
    try:
        return [_stripped(text) for text in _decoded(dataset, tag)]
    except Exception as error:  # noqa: BLE001  pydicom raises what its callees do, on any input
        what = type(error).__name__
    raise dicom.DicomError(f"pydicom cannot decode ({tag >> 16:04X},{tag & 0xFFFF:04X}): {what}")


def _decoded(dataset: dicom.Dataset, tag: int) -> Iterator[str]:
    elements = dataset.file_meta if tag >> 16 == _META_GROUP else dataset
    if tag not in elements or elements[tag].VR == "SQ":
        return
    element = elements[tag]
    value = element.value
    if isinstance(value, bytes):  # of an unknown VR
        value = value.decode("latin-1").split("\\")
    values = value if isinstance(value, MutableSequence) else [value]
    for each in values if len(values) else [""]:
        text = "" if each is None else str(each)
        yield text
        if element.VR == "PN":  # alphabetic, ideographic, phonetic: PS3.5 section 6.2.1
            yield from text.split("=")


def _stripped(text: str) -> str:
    return text.strip("\0 ")
