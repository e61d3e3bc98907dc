"""Data elements (PS3.5 section 7), followed from header to header without their values.

A reader such as pydicom takes a dataset cut in two for a whole one. Here every length and
delimiter is followed to the exact end, values are passed over and never held, and sequences are
followed with a list of levels instead of recursion. Real files that bend the standard are
understood as pydicom understands them: implicit VR where the transfer syntax says explicit, for
a dataset, an item or an element, and an unknown VR, whose length is taken to have 16 bits.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["BLOCK", "DicomError", "ElementWalker", "PixelElement", "Stream", "Window"]

BLOCK = 16 * 1024  # bytes read at once: most headers take one read

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_DELIMITER, _SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_HEADER, _LONG_HEADER = 8, 12  # bytes before a value, PS3.5 section 7.1.2
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VALUE_KEPT = 128  # bytes kept of a value that is asked for; a UID has 64
_MAX_DEPTH = 64  # sequences within sequences; pydicom's recursion ends at some 180


class DicomError(ValueError):
    """Why something is no DICOM instance that can be sent or read, in one line.

    The message has tags, lengths and offsets in bytes; never a value, nor the name of the file.
    """


class PixelElement(NamedTuple):
    """Where the length field of a pixel data element begins, its value, and where it ends."""

    length_start: int
    value_start: int
    end: int


class Stream(Protocol):
    """Bytes that are read forward."""

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer only at the end."""

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes."""


class Window:
    """The block of a stream that the walk has reached."""

    __slots__ = ("_base", "_data", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._base = 0
        self._data = b""

    def peek(self, offset: int, count: int, *, ahead: int = BLOCK) -> bytes:
        """``count`` bytes at ``offset``, fewer at the end; never before an earlier block."""
        start = offset - self._base
        found = self._data[start : start + count]
        return found if len(found) == count else self._refill(offset, count, ahead)

    def _refill(self, offset: int, count: int, ahead: int) -> bytes:
        held = self._data[offset - self._base :]
        if not held:
            self._stream.skip(offset - self._base - len(self._data))
        self._data = held + self._stream.read(max(count, ahead) - len(held))
        self._base = offset
        return self._data[:count]


class _Level(NamedTuple):
    """A dataset, a sequence or a run of fragments that the walk is inside of.

    ``step`` is what reads on in it. ``end`` is its own where it is ``closed``; else its length is
    undefined, a delimiter ends it, and ``end`` is that of what holds it.
    """

    step: Callable[[_Level], None]
    tag: int
    end: int
    closed: bool
    implicit: bool


# Tag, VR (None: implicit), length, offset of the length field, offset of the value: a plain tuple,
# since naming the fields would cost a tenth of the walk.
_Header: TypeAlias = tuple[int, bytes | None, int, int, int]


class ElementWalker:
    """Goes through the elements from ``position`` to ``end``, offsets in the window's stream."""

    def __init__(
        self,
        window: Window,
        position: int,
        end: int,
        wanted: Collection[int],
        sequences: Collection[int] = (),
        *,
        big_endian: bool = False,
    ) -> None:
        self._window = window
        self._end = end
        self._wanted = wanted
        self._sequences = sequences
        order = ">" if big_endian else "<"
        self._unpack_explicit = Struct(order + "HH2sH").unpack_from
        self._unpack_implicit = Struct(order + "HHL").unpack_from
        self._unpack_length = Struct(order + "L").unpack_from
        self._levels: list[_Level] = []
        self._past_pixels = False
        self.position = position
        self.values: dict[int, bytes] = {}
        self.pixels: list[PixelElement] = []

    def file_meta(self) -> None:
        """Walk group 0002, which is explicit VR little endian (PS3.10 section 7.1)."""
        level = _Level(self._top_element, 0, self._end, closed=True, implicit=False)
        start = self.position
        while self._window.peek(self.position, 2) == b"\2\0":
            tag, _, length, _, value = self._header(level)
            if length == _UNDEFINED:
                raise self._misplaced(tag)
            if tag in self._wanted:
                self._keep(tag, value, length)
            self.position = value + length
        if self.position == start:
            msg = "no file meta information (group 0002)"
            raise DicomError(msg)

    def dataset(self, *, implicit: bool, max_elements: int) -> None:
        """Walk a dataset and all it holds; ``implicit`` is what the transfer syntax says."""
        implicit = self._is_implicit(expected=implicit)
        self._levels = [_Level(self._top_element, 0, self._end, closed=True, implicit=implicit)]
        for _ in range(max_elements):
            if not self._levels:
                return
            level = self._levels[-1]
            if self.position < level.end:
                level.step(level)
            elif level.closed:
                self._levels.pop()
            else:
                how = "truncated" if level.end == self._end else "damaged"
                msg = f"{how}: {_name(level.tag)} ends without its delimiter"
                raise DicomError(msg)
        msg = f"more than {max_elements} elements"
        raise DicomError(msg)

    def _is_implicit(self, *, expected: bool) -> bool:
        """Whether the elements here are implicit VR, to go by the first of them."""
        vr = self._window.peek(self.position, _HEADER)[4:6]
        return not (vr.isalpha() and vr.isupper()) if vr[1:] else expected

    def _header(self, level: _Level) -> _Header:
        """The header of the element here, whose value is seen to end within ``level``."""
        head = self._window.peek(self.position, _LONG_HEADER)
        if len(head) < _HEADER:
            msg = f"truncated: of an element at byte {self.position}, {len(head)} bytes are there"
            raise DicomError(msg)
        header = self._implicit(head) if level.implicit else self._explicit(head)
        if header[4] + header[2] > level.end and header[2] != _UNDEFINED:
            raise self._too_long(header[0], header[2], header[4])
        return header

    def _implicit(self, head: bytes) -> _Header:
        group, element, length = self._unpack_implicit(head)
        return group << 16 | element, None, length, self.position + 4, self.position + 8

    def _explicit(self, head: bytes) -> _Header:
        group, element, vr, length = self._unpack_explicit(head)
        if vr in _LONG_VRS:
            return self._explicit_long(group << 16 | element, vr, head)
        if b"AA" <= vr <= b"ZZ":
            return group << 16 | element, vr, length, self.position + 6, self.position + 8
        return self._implicit(head)

    def _explicit_long(self, tag: int, vr: bytes, head: bytes) -> _Header:
        if len(head) < _LONG_HEADER:
            msg = f"truncated: {_name(tag)} breaks off before its length"
            raise DicomError(msg)
        return tag, vr, self._unpack_length(head, 8)[0], self.position + 8, self.position + 12

    def _keep(self, tag: int, value: int, length: int) -> None:
        self.values[tag] = self._window.peek(value, min(length, _VALUE_KEPT)).rstrip(b"\0 ")

    def _top_element(self, level: _Level) -> None:
        left = self._end - self.position
        if left < _HEADER and self._is_padding(left):
            self.position = self._end
            return
        header = self._header(level)
        tag, _, length, length_start, value = header
        if tag in {_ITEM, _ITEM_DELIMITER}:
            raise self._misplaced(tag)
        if not tag and not length:
            self._pass_padding()
            return
        if tag in _PIXELS:
            self._past_pixels = True
            if length:  # where it is undefined, the delimiter will say where the element ends
                self.pixels.append(PixelElement(length_start, value, value + length))
        elif tag in self._wanted and length != _UNDEFINED:
            self._keep(tag, value, length)
        self._enter(header, level)

    def _element(self, level: _Level) -> None:
        header = self._header(level)
        if header[0] == _ITEM:
            raise self._misplaced(_ITEM)
        if header[0] == _ITEM_DELIMITER:
            self._levels.pop()
            self.position += _HEADER
        else:
            self._enter(header, level)

    def _enter(self, header: _Header, level: _Level) -> None:
        """Go into a value that has a structure of its own, else past it."""
        tag, vr, length, _, value = header
        self.position = value
        if length == _UNDEFINED:
            fragments = tag in _PIXELS or vr not in {None, b"SQ", b"UN"}
            step = self._fragment if fragments else self._item
            self._open(_Level(step, tag, level.end, closed=False, implicit=level.implicit))
        elif vr == b"SQ" or (vr is None and tag in self._sequences):
            end = value + length
            self._open(_Level(self._item, tag, end, closed=True, implicit=level.implicit))
        else:
            self.position += length

    def _open(self, level: _Level) -> None:
        if len(self._levels) > 2 * _MAX_DEPTH:
            msg = f"more than {_MAX_DEPTH} sequences within one another"
            raise DicomError(msg)
        self._levels.append(level)

    def _item(self, level: _Level) -> None:
        tag, length = self._item_header(level, ahead=BLOCK)
        if tag == _SEQUENCE_DELIMITER:
            self._close(level)
            return
        closed = length != _UNDEFINED
        end = self.position + length if closed else level.end
        if end > level.end:
            raise self._too_long(level.tag, length, self.position)
        implicit = level.implicit or self._is_implicit(expected=False)
        item = _Level(self._element, level.tag, end, closed=closed, implicit=implicit)
        self._levels.append(item)

    def _fragment(self, level: _Level) -> None:
        """Pass a fragment of encapsulated pixel data (PS3.5 section A.4)."""
        tag, length = self._item_header(level, ahead=_HEADER)
        if tag == _SEQUENCE_DELIMITER:
            self._close(level)
        elif self.position + length > level.end:
            raise self._too_long(level.tag, length, self.position)
        else:
            self.position += length

    def _item_header(self, level: _Level, *, ahead: int) -> tuple[int, int]:
        """Tag and length of an item or a sequence delimiter, which it passes."""
        head = self._window.peek(self.position, _HEADER, ahead=ahead)
        if len(head) < _HEADER:
            msg = f"truncated: {_name(level.tag)} breaks off within the header of an item"
            raise DicomError(msg)
        group, element, length = self._unpack_implicit(head)
        tag = group << 16 | element
        if tag not in {_ITEM, _SEQUENCE_DELIMITER}:
            raise self._misplaced(tag)
        self.position += 8
        return tag, length

    def _close(self, level: _Level) -> None:
        """Leave at the delimiter; what a defined length still holds after it is passed over."""
        self._levels.pop()
        if level.closed:
            self.position = level.end
        if level.tag in _PIXELS and len(self._levels) == 1:
            self.pixels[-1] = self.pixels[-1]._replace(end=self.position)

    def _is_padding(self, left: int) -> bool:
        """Whether the ``left`` bytes are padding; a lone zero may be half a tag before pixels."""
        rest = self._window.peek(self.position, left)
        return not rest.strip(b"\0") and (left > 1 or self._past_pixels)

    def _pass_padding(self) -> None:
        start = self.position
        while block := self._window.peek(self.position, min(BLOCK, self._end - self.position)):
            if block.strip(b"\0"):
                msg = f"damaged: no element at byte {start}, and not zeros to the end"
                raise DicomError(msg)
            self.position += len(block)

    def _misplaced(self, tag: int) -> DicomError:
        return DicomError(f"damaged: {_name(tag)} is out of place at byte {self.position}")

    def _too_long(self, tag: int, length: int, value: int) -> DicomError:
        if value + length > self._end:
            there = max(0, self._end - value)
            return DicomError(f"truncated: {_name(tag)} declares {length} bytes, {there} are there")
        return DicomError(f"damaged: {_name(tag)} at byte {value} is longer than what holds it")


def _name(tag: int) -> str:
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return f"{_PIXELS.get(tag, 'element')} {number}"
