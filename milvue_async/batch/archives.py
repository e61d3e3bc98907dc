"""Zip archives of DICOM files, as patients get them on media (PS3.12 annex V).

Their members are found with `zipfile` and inflated here: what an archive says of itself is not
believed, so there are caps on all that is inflated, and nothing of it is ever used as a path.
"""

from __future__ import annotations

import functools
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from milvue_async.batch.found import changed_at
from milvue_async.errors import InvalidStudyError
from milvue_async.files import PartialFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipInfo

    from milvue_async.batch.found import FoundFile

__all__ = ["ArchiveError", "Member", "extract", "is_archive", "read_member", "read_members"]

_SIGNATURE = b"PK\3\4"
_LOCAL_HEADER = 30  # bytes, APPNOTE.TXT section 4.3.7
_NAME_LENGTHS = struct.Struct("<HH")
_NAME_LENGTHS_AT = 26
_ENCRYPTED = 1  # of the general purpose flags
_PREAMBLE = 128
_PIECE = 1 << 18

# A member is held in memory while it is scanned. Deflate cannot do better than 1,032 to 1; an
# image of more than a megabyte that comes near that is empty.
_MAX_MEMBER = 1 << 29
_MAX_RATIO = 200
_ALWAYS_INFLATED = 1 << 20
_MAX_MEMBERS = 200_000


class ArchiveError(ValueError):
    """Why an archive or one of its members cannot be taken, in one line without its name."""


class Member(NamedTuple):
    """A member of an archive: its content, or where ``reason`` is not empty, why it is not taken.

    ``size`` is in bytes.
    """

    name: str
    size: int
    content: bytes
    reason: str


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip archive does, whatever its name.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def read_members(path: Path) -> Iterator[Member]:
    """The files in an archive, in its order and one in memory at a time.

    Raises:
        ArchiveError: The archive as a whole cannot be taken.
        OSError: It cannot be read.
    """
    status = path.stat()
    members = _directory(str(path), status.st_size, status.st_mtime_ns)
    if sum(info.compress_size for info in members.values()) > status.st_size:
        raise ArchiveError("a zip archive whose members overlap")
    with path.open("rb") as file:
        for info in members.values():
            yield _read(file, info)


def read_member(path: Path, name: str) -> Iterator[bytes]:
    """The bytes of one member, in pieces of at most 256 KiB.

    Raises:
        ArchiveError: There is none of that name, or it is damaged.
        OSError: The archive cannot be read.
    """
    with path.open("rb") as file:
        yield from _inflated(file, _info(file, path, name))


def extract(file: FoundFile, folder: Path) -> Path:
    """Write the member of an archive that was found into a folder; blocking.

    The file is private, and there only when whole.

    Args:
        file: With a ``member``.
        folder: Where; it is there. The file's name is its SOPInstanceUID.

    Raises:
        InvalidStudyError: The archive changed since it was read, or the member is damaged,
            encrypted or of another size than it was.
        OSError: ``folder`` cannot be written.
    """
    pieces = _unchanged_member(file)
    with PartialFile(folder) as partial:
        while piece := _next_piece(file, pieces):
            partial.write([piece])
        return partial.publish(f"{file.sop_instance_uid}.dcm")


def _next_piece(file: FoundFile, pieces: Iterator[bytes]) -> bytes:
    try:
        return next(pieces, b"")
    except ArchiveError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    raise InvalidStudyError(f"{file.name}: {reason}", source=file.name)


def _unchanged_member(file: FoundFile) -> Iterator[bytes]:
    path = Path(file.path)
    with path.open("rb") as archive:
        status = os.fstat(archive.fileno())
        if (status.st_size, changed_at(status)) != (file.file_size, file.mtime_ns):
            raise ArchiveError("the archive changed since the directory was read: run again")
        info = _info(archive, path, file.member)
        reason = _refusal(info)
        if reason:
            raise ArchiveError(reason)
        if info.file_size != file.size:
            raise ArchiveError(f"has {info.file_size} bytes, where {file.size} were found")
        yield from _inflated(archive, info)


def _info(file: BinaryIO, path: Path, name: str) -> ZipInfo:
    status = os.fstat(file.fileno())
    info = _directory(str(path), status.st_size, status.st_mtime_ns).get(name)
    if info is None:
        raise ArchiveError("no longer in the archive")
    return info


# A study is taken out member by member, and reading the directory of an archive of 10,000 for
# each of them would take minutes.
@functools.lru_cache(maxsize=2)
def _directory(path: str, _size: int, _mtime_ns: int) -> dict[str, ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not _is_folder(info)]
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  it raises what its callees do, on any input
        what = type(error).__name__
        raise ArchiveError(f"a zip archive that is damaged or cut short ({what})") from None
    if not infos:
        raise ArchiveError("a zip archive without files")
    if len(infos) > _MAX_MEMBERS:
        raise ArchiveError(f"a zip archive of more than {_MAX_MEMBERS} files")
    members = {info.filename: info for info in infos}
    if len(members) < len(infos):
        raise ArchiveError("a zip archive with several members of the same name")
    return members


def _is_folder(info: ZipInfo) -> bool:
    return info.is_dir() and not info.file_size


def _read(file: BinaryIO, info: ZipInfo) -> Member:
    reason = _refusal(info)
    if reason:
        return Member(info.filename, info.file_size, b"", reason)
    try:
        content = b"".join(_inflated(file, info))
    except ArchiveError as error:
        return Member(info.filename, info.file_size, b"", str(error))
    if content.startswith(_SIGNATURE) and content[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        reason = "a zip archive within a zip archive: unpack the outer one"
        return Member(info.filename, info.file_size, b"", reason)
    return Member(info.filename, info.file_size, content, "")


def _refusal(info: ZipInfo) -> str:
    """Why a member is not inflated, or an empty string."""
    if info.is_dir():
        return "a folder by its name, and yet it has content"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted: unpack the archive with its password"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"compressed by method {info.compress_type}, not by deflate: unpack the archive"
    if info.file_size > _MAX_MEMBER:
        return f"inflates to more than {_MAX_MEMBER >> 20} MiB: unpack the archive"
    if info.file_size > max(_ALWAYS_INFLATED, _MAX_RATIO * info.compress_size):
        return f"inflates to more than {_MAX_RATIO} times its size, as no image does"
    return ""


def _inflated(file: BinaryIO, info: ZipInfo) -> Iterator[bytes]:
    """The content of a member, which is exactly as long and as its checksum says."""
    size = checksum = 0
    try:
        for piece in _pieces(file, info):
            size += len(piece)
            if size > info.file_size:
                raise ArchiveError(f"inflates to more than the {info.file_size} bytes it declares")
            checksum = zlib.crc32(piece, checksum)
            yield piece
    except zlib.error:
        size = -1
    if (size, checksum) != (info.file_size, info.CRC):
        raise ArchiveError("damaged: its length or its checksum is not what the archive says")


def _pieces(file: BinaryIO, info: ZipInfo) -> Iterator[bytes]:
    compressed = _compressed(file, info)
    if info.compress_type == zipfile.ZIP_STORED:
        yield from compressed
        return
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    while not inflater.eof:
        data = inflater.unconsumed_tail or next(compressed, b"")
        piece = inflater.decompress(data, _PIECE)
        if piece:
            yield piece
        elif not data:
            return


def _compressed(file: BinaryIO, info: ZipInfo) -> Iterator[bytes]:
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(_SIGNATURE):
        raise ArchiveError("damaged: it is not where the archive says")
    file.seek(sum(_NAME_LENGTHS.unpack_from(header, _NAME_LENGTHS_AT)), os.SEEK_CUR)
    left = info.compress_size
    while left and (data := file.read(min(left, _PIECE))):
        left -= len(data)
        yield data
