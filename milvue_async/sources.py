"""Instances to send: paths, bytes or pydicom Datasets; checked first, then streamed as they are.

A file's own bytes are sent, never a re-encoding of them. Reading does not block the event loop:
what the page cache holds is read in place (``RWF_NOWAIT``, preadv2(2)), all else in a worker
thread.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import anyio
import anyio.lowlevel
import anyio.to_thread

from milvue_async import dicom
from milvue_async.errors import InvalidStudyError, MilvueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import TypeIs

    from milvue_async.dicom import Dataset

__all__ = ["Instance", "InstanceSource", "PieceBody", "Study", "StudySource", "load_study"]

InstanceSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Dataset"
StudySource: TypeAlias = "InstanceSource | Iterable[InstanceSource] | Study"

# Bytes read at once. Larger ones gain little, and each upload holds two of them.
_CHUNK = 1 << 18
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
# The read would block, or this file system cannot tell.
_NOT_CACHED = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class FileRange:
    """A run of bytes of a file, which must not have changed since it was checked."""

    path: Path
    size: int
    mtime_ns: int
    offset: int
    length: int


Piece = bytes | FileRange


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance that was checked and can be sent.

    Attributes:
        name: What a person calls it: its path, or its place among the sources.
        header: Its UIDs and what kind of object it is.
        size: Bytes of the whole file.
        whole: The file.
        pixel_less: The same file with its PixelData emptied.
    """

    name: str
    header: dicom.InstanceHeader
    size: int
    whole: tuple[Piece, ...] = field(repr=False)
    pixel_less: tuple[Piece, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Study:
    """Instances of one StudyInstanceUID, all checked.

    Attributes:
        study_instance_uid: StudyInstanceUID (0020,000D).
        instances: At least one; each SOPInstanceUID once.
    """

    study_instance_uid: str
    instances: tuple[Instance, ...]

    @property
    def size(self) -> int:
        """Bytes of all the files."""
        return sum(instance.size for instance in self.instances)


async def load_study(sources: StudySource) -> Study:
    """Check that the sources are whole DICOM instances of one study.

    Args:
        sources: Paths, bytes (PS3.10 files) or pydicom Datasets; or just one of these; or a study
            that was checked before.

    Raises:
        InvalidStudyError: There are none; one is not DICOM, truncated or without UIDs; they are
            of several studies; or a SOPInstanceUID comes twice. It names the file.
    """
    if isinstance(sources, Study):
        return sources
    if is_instance_source(sources):
        sources = (sources,)
    return await anyio.to_thread.run_sync(_load, tuple(sources))


def is_instance_source(value: object) -> TypeIs[InstanceSource]:
    """Whether a value is one instance, not an iterable of them."""
    is_content = isinstance(value, str | os.PathLike | bytes | bytearray | memoryview)
    return is_content or dicom.is_dataset(value)


def _load(sources: tuple[InstanceSource, ...]) -> Study:
    if not sources:
        msg = "a study needs at least one instance, and none was given"
        raise InvalidStudyError(msg)
    first = load_instance(sources[0])
    instances = {first.header.sop_instance_uid: first}
    for number, source in enumerate(sources[1:], start=2):
        instance = load_instance(source, number)
        _check_fits(instance, first, instances)
        instances[instance.header.sop_instance_uid] = instance
    return Study(first.header.study_instance_uid, tuple(instances.values()))


def _check_fits(instance: Instance, first: Instance, others: dict[str, Instance]) -> None:
    header = instance.header
    if header.study_instance_uid != first.header.study_instance_uid:
        msg = (
            f"{instance.name} belongs to study {header.study_instance_uid} and {first.name} to "
            f"{first.header.study_instance_uid}: send them as two studies"
        )
        raise InvalidStudyError(msg, source=instance.name)
    twin = others.get(header.sop_instance_uid)
    if twin is not None:
        msg = (
            f"{instance.name} has the same SOPInstanceUID {header.sop_instance_uid} as "
            f"{twin.name}: leave one of them out"
        )
        raise InvalidStudyError(msg, source=instance.name)


def load_instance(source: InstanceSource, number: int = 1) -> Instance:
    """Check one source; blocking.

    Args:
        source: A path, the bytes of a PS3.10 file, or a pydicom Dataset.
        number: Its place among the sources, to name it by where it has no path.

    Raises:
        InvalidStudyError: It cannot be sent; names it and says why.
    """
    name = _name(source, number)
    try:
        if isinstance(source, str | os.PathLike):
            return _load_file(name, Path(source))
        if dicom.is_dataset(source):
            return _load_bytes(name, dicom.dataset_to_bytes(source))
        if isinstance(source, bytes | bytearray | memoryview):
            return _load_bytes(name, bytes(source))
        reason = f"{type(source).__name__} is no source: give a path, bytes or a Dataset"
    except dicom.DicomError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or type(error).__name__})"
    except ValueError:  # a NUL in a path
        reason = "cannot be read (not a path)"
    raise InvalidStudyError(f"{name}: {reason}", source=name)


def _load_file(name: str, path: Path) -> Instance:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        msg = f"{name} is a folder: give the files in it"
        raise InvalidStudyError(msg, source=name)
    scanned = dicom.scan_instance(path)

    def run(offset: int, length: int) -> FileRange:
        return FileRange(path, status.st_size, status.st_mtime_ns, offset, length)

    return Instance(
        name=name,
        header=scanned.header,
        size=status.st_size,
        whole=(run(0, status.st_size),),
        pixel_less=tuple(
            piece if isinstance(piece, bytes) else run(piece.offset, piece.length)
            for piece in scanned.pixel_less
        ),
    )


def _load_bytes(name: str, content: bytes) -> Instance:
    scanned = dicom.scan_instance(content)
    return Instance(
        name=name,
        header=scanned.header,
        size=len(content),
        whole=(content,),
        pixel_less=tuple(
            piece
            if isinstance(piece, bytes)
            else content[piece.offset : piece.offset + piece.length]
            for piece in scanned.pixel_less
        ),
    )


def _name(source: InstanceSource, number: int) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    # A Dataset keeps the name of the file it was read from.
    filename = getattr(source, "filename", None)
    return str(filename) if isinstance(filename, str | os.PathLike) else f"instance {number}"


@dataclass(frozen=True, slots=True)
class PieceBody:
    """A body made of literal bytes and runs of files; a new one for each try.

    Attributes:
        pieces: In order.
    """

    pieces: tuple[Piece, ...]

    @property
    def length(self) -> int:
        """Bytes in all."""
        return sum(pieces_length(piece) for piece in self.pieces)

    def open(self) -> OpenPieces:
        """Begin anew, from the first byte."""
        return OpenPieces(self.pieces)


def pieces_length(piece: Piece) -> int:
    """Bytes of one piece."""
    return len(piece) if isinstance(piece, bytes) else piece.length


class OpenPieces:
    """The chunks of one try's body, at most 256 KiB each.

    Attributes:
        error: Why it could not be read to its end; the connection's own error says less.
    """

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.error: MilvueError | None = None
        self._pieces = iter(pieces)
        self._current: Iterator[memoryview] | _OpenFile | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | memoryview:
        try:
            return await self._next()
        except MilvueError as error:
            self.error = error
            raise

    def close(self) -> None:
        """Give up what is open."""
        self._pieces = iter(())
        self._release()

    async def _next(self) -> bytes | memoryview:
        while True:
            if self._current is None:
                piece = next(self._pieces, None)
                if piece is None:
                    raise StopAsyncIteration
                self._current = await _begin(piece)
            chunk = await _advance(self._current)
            if chunk:
                return chunk
            self._release()

    def _release(self) -> None:
        if isinstance(self._current, _OpenFile):
            self._current.close()
        self._current = None


async def _begin(piece: Piece) -> Iterator[memoryview] | _OpenFile:
    if isinstance(piece, FileRange):
        return await anyio.to_thread.run_sync(_OpenFile, piece)
    view = memoryview(piece)
    return (view[at : at + _CHUNK] for at in range(0, len(view), _CHUNK))


async def _advance(current: Iterator[memoryview] | _OpenFile) -> bytes | memoryview:
    if isinstance(current, _OpenFile):
        return await current.read()
    # aiohttp sees an early refusal only where the body lets the event loop run.
    await anyio.lowlevel.checkpoint()
    return next(current, b"")


class _OpenFile:
    """A run of a file, read from its beginning; made in a worker thread."""

    def __init__(self, piece: FileRange) -> None:
        self._piece = piece
        self._offset = piece.offset
        self._end = piece.offset + piece.length
        self._lock = threading.Lock()
        self._is_closing = False
        self._is_closed = False
        try:
            self._descriptor = os.open(piece.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
        else:
            status = os.fstat(self._descriptor)
            if (status.st_size, status.st_mtime_ns) == (piece.size, piece.mtime_ns):
                return
            self.close()
            reason = "changed after it was checked"
        raise self._refused(reason)

    def close(self) -> None:
        """Close, or let the thread that still reads close when it has read.

        asyncio cancels a task without waiting for its thread, and a descriptor that is closed
        under a reader may by then be another file's.
        """
        self._is_closing = True
        if self._lock.acquire(blocking=False):
            try:
                if not self._is_closed:
                    self._is_closed = True
                    os.close(self._descriptor)
            finally:
                self._lock.release()

    def __del__(self) -> None:
        # A task that was cancelled while a thread opened the file never got to hold it.
        if hasattr(self, "_descriptor"):
            self.close()

    async def read(self) -> bytes | memoryview:
        """The next chunk; empty at the end.

        Raises:
            InvalidStudyError: The file broke or shrank meanwhile.
        """
        size = min(self._end - self._offset, _CHUNK)
        if size == 0:
            return b""
        chunk: bytes | memoryview | None = self._read_cached(size)
        if chunk is None:
            chunk = await anyio.to_thread.run_sync(self._read_blocking, size)
        else:
            # As above: a body that never waits would not let aiohttp see an early refusal.
            await anyio.lowlevel.checkpoint()
        if not chunk:
            raise self._refused("became shorter while it was being sent")
        self._offset += len(chunk)
        return chunk

    def _read_cached(self, size: int) -> memoryview | None:
        if _NOWAIT is None:
            return None
        buffer = bytearray(size)
        try:
            count = os.preadv(self._descriptor, [buffer], self._offset, _NOWAIT)
        except OSError as error:
            if error.errno in _NOT_CACHED:
                return None
            reason = f"cannot be read ({error.strerror})"
        else:
            return memoryview(buffer)[:count]
        raise self._refused(reason)

    def _read_blocking(self, size: int) -> bytes:
        try:
            with self._lock:
                return b"" if self._is_closed else os.pread(self._descriptor, size, self._offset)
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
        finally:
            if self._is_closing:
                self.close()
        raise self._refused(reason)

    def _refused(self, reason: str) -> InvalidStudyError:
        path = str(self._piece.path)
        return InvalidStudyError(f"{path} {reason}", source=path)
