"""The structure of a DICOM file (PS3.10 section 7): whether it is whole, and where its pixels are.

Its elements are followed by `milvue_async.elements`. A deflated dataset is inflated a block at a
time and never held as a whole, in memory or on disk.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO

from milvue_async.elements import BLOCK, DicomError, ElementWalker, PixelElement, Window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["Segment", "Structure", "walk", "without_pixels"]

_PREAMBLE = 128
_MEDIA_STORAGE_CLASS, _TRANSFER_SYNTAX = 0x00020002, 0x00020010
_MEDIA_STORAGE_DIRECTORY = b"1.2.840.10008.1.3.10"
_IMPLICIT_LITTLE = b"1.2.840.10008.1.2"
_EXPLICIT_BIG = b"1.2.840.10008.1.2.2"
_DEFLATED = b"1.2.840.10008.1.2.1.99"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of bytes of the source file: ``offset`` and ``length`` in bytes."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Structure:
    """What a walk found.

    Attributes:
        size: Bytes of the file.
        deflated: Whether the dataset is a raw deflate stream (PS3.5 section A.5). The offsets in
            ``dataset_end`` and ``pixels`` then count in the inflated dataset, else in the file.
        dataset_start: Offset in the file where the file meta information ends.
        dataset_end: Offset of the dataset's end.
        values: Encoded values of the tags that were asked for, without padding at their end.
        pixels: The top-level pixel data elements (7FE0,0008), (7FE0,0009) and (7FE0,0010) that
            are not empty.
    """

    size: int
    deflated: bool
    dataset_start: int
    dataset_end: int
    values: dict[int, bytes]
    pixels: tuple[PixelElement, ...]


def walk(
    file: BinaryIO,
    wanted: Collection[int],
    sequences: Collection[int],
    *,
    max_inflated: int = 1 << 30,
    max_elements: int = 10_000_000,
) -> Structure:
    """Follow the structure of a DICOM file to its end.

    Zero bytes after the last element are let through: archives pad files so.

    Args:
        file: A seekable file, or bytes in an ``io.BytesIO``. It is only read forward, and no
            value in it is read but those of ``wanted``.
        wanted: Tags whose value is kept, from the file meta information and the dataset's top.
        sequences: Tags that are sequences where the file does not say so (implicit VR).
        max_inflated: Bytes that a deflated dataset may inflate to; 1 GiB takes a few seconds.
        max_elements: Elements and items to follow; ten million take some ten seconds.

    Raises:
        DicomError: It is no DICOM file, a DICOMDIR, not whole, or beyond a limit.
        OSError: It cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    window = Window(_FileStream(file))
    if window.peek(_PREAMBLE, 4) != b"DICM":
        msg = "not a DICOM Part 10 file (no DICM prefix)"
        raise DicomError(msg)
    meta = ElementWalker(
        window, _PREAMBLE + 4, size, {*wanted, _MEDIA_STORAGE_CLASS, _TRANSFER_SYNTAX}
    )
    meta.file_meta()
    transfer_syntax = _transfer_syntax(meta.values)
    start, end = meta.position, size
    if deflated := transfer_syntax == _DEFLATED:
        start, end = 0, sum(map(len, _inflate(file, meta.position, max_inflated)))
        window = Window(_PieceStream(_inflate(file, meta.position, max_inflated)))
    big = transfer_syntax == _EXPLICIT_BIG
    dataset = ElementWalker(window, start, end, wanted, sequences, big_endian=big)
    dataset.dataset(implicit=transfer_syntax == _IMPLICIT_LITTLE, max_elements=max_elements)
    values = dataset.values | meta.values
    return Structure(size, deflated, meta.position, end, values, tuple(dataset.pixels))


def _transfer_syntax(values: dict[int, bytes]) -> bytes:
    if values.get(_MEDIA_STORAGE_CLASS) == _MEDIA_STORAGE_DIRECTORY:
        msg = "a DICOMDIR (Media Storage Directory), not an instance"
        raise DicomError(msg)
    if not values.get(_TRANSFER_SYNTAX):
        msg = "no TransferSyntaxUID (0002,0010) in the file meta information"
        raise DicomError(msg)
    return values[_TRANSFER_SYNTAX]


def _inflate(file: BinaryIO, start: int, limit: int) -> Iterator[bytes]:
    """Inflate what stands from ``start`` to the end of the file, a block at a time.

    Args:
        file: A seekable file.
        start: Offset where the deflate stream begins.
        limit: Bytes it may inflate to: 1.5 MB may well inflate to 1.5 GB.

    Raises:
        DicomError: It is cut short, no deflate stream, too long, or followed by other bytes than
            zeros or the trailer of a gzip file (RFC 1952), which some writers leave there.
    """
    file.seek(start)
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    size = checksum = 0
    while not inflater.eof:
        deflated = inflater.unconsumed_tail or file.read(BLOCK)
        try:
            piece = inflater.decompress(deflated, BLOCK)
        except zlib.error:
            msg = "damaged: the dataset is not the deflate stream that its transfer syntax promises"
            raise DicomError(msg) from None
        if not deflated and not piece:
            msg = "truncated: the deflated dataset breaks off"
            raise DicomError(msg)
        size += len(piece)
        if size > limit:
            msg = f"the deflated dataset inflates to more than {limit} bytes"
            raise DicomError(msg)
        checksum = zlib.crc32(piece, checksum)
        yield piece
    after = inflater.unused_data + file.read(BLOCK)
    after = after.removeprefix(Struct("<LL").pack(checksum, size & 0xFFFFFFFF))
    while after:
        if after.strip(b"\0"):
            msg = "damaged: the deflated dataset is followed by other bytes"
            raise DicomError(msg)
        after = file.read(BLOCK)


def without_pixels(file: BinaryIO, structure: Structure) -> tuple[Segment | bytes, ...]:
    """The file with its top-level pixel data emptied, as runs of the file and literal bytes.

    Of each such element the length becomes zero and the value goes; its tag and VR stay. A
    deflated dataset that has one is inflated and deflated again, a block at a time.

    Args:
        file: The file that was walked.
        structure: What the walk found.

    Raises:
        DicomError: The file has changed since.
        OSError: It cannot be read.
    """
    if not structure.pixels:
        return (Segment(0, structure.size),)
    kept = tuple(_kept(structure))
    if not structure.deflated:
        return kept
    inflated = _PieceStream(_inflate(file, structure.dataset_start, structure.dataset_end))
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = [deflater.compress(piece) for piece in _copied(inflated, kept)]
    literal = b"".join([*deflated, deflater.flush()])
    return (Segment(0, structure.dataset_start), literal + bytes(len(literal) % 2))


def _kept(structure: Structure) -> Iterator[Segment | bytes]:
    start = 0
    for length_start, value_start, end in structure.pixels:
        yield Segment(start, length_start - start)
        yield bytes(value_start - length_start)
        start = end
    if start < structure.dataset_end:
        yield Segment(start, structure.dataset_end - start)


def _copied(stream: _PieceStream, parts: Iterable[Segment | bytes]) -> Iterator[bytes]:
    """The bytes of ``parts``, whose segments are of ``stream`` and in its order."""
    position = 0
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        stream.skip(part.offset - position)
        position = part.offset + part.length
        for copied in range(0, part.length, BLOCK):
            yield stream.read(min(BLOCK, part.length - copied))


class _FileStream:
    """A file; one that is unbuffered may return less than it is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        while data and len(data) < count and (more := self._file.read(count - len(data))):
            data += more
        return data

    def skip(self, count: int) -> None:
        self._file.seek(count, os.SEEK_CUR)


class _PieceStream:
    """What an iterator of bytes yields, as one stream that is read forward."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer only at the end."""
        while len(self._held) < count and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        data, self._held = self._held[:count], self._held[count:]
        return data

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes, `~milvue_async.elements.BLOCK` in memory at a time."""
        while count > 0 and (passed := len(self.read(min(count, BLOCK)))):
            count -= passed
