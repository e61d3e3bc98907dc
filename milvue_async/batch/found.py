"""What a directory holds: studies that can be sent, and files that are set aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import os

__all__ = [
    "Discovery",
    "Entry",
    "FoundFile",
    "FoundStudy",
    "ListedFile",
    "SetAside",
    "changed_at",
    "name_of",
]

_LAST_TIME = 2**63 - 1  # of an integer of SQLite, in the year 2262; file systems go further


# Path, size in bytes, time of change in nanoseconds: a plain tuple, since naming the fields would
# cost a twentieth of a run over files that are known.
ListedFile: TypeAlias = tuple[str, int, int]


def changed_at(status: os.stat_result) -> int:
    """When a file was last changed, nanoseconds since 1970; not after 2262, as a clock may say."""
    return min(status.st_mtime_ns, _LAST_TIME)


def name_of(path: str, member: str) -> str:
    """What a person calls an instance: its path, or that of the archive and its name in it."""
    return f"{path}!{member}" if member else path


class Entry(NamedTuple):
    """What reading a file, or one member of an archive, came to.

    An entry without UIDs and without a reason is a file that is passed over, a DICOMDIR.

    Attributes:
        path: The file, or the archive.
        file_size: Its size on disk, bytes.
        mtime_ns: When it was last changed, nanoseconds since 1970.
        member: Name within the archive; empty where the file is none.
        size: Bytes of the instance.
        study_instance_uid: StudyInstanceUID (0020,000D); empty where it is set aside.
        series_instance_uid: SeriesInstanceUID (0020,000E); empty where there is none.
        sop_instance_uid: SOPInstanceUID (0008,0018).
        modality: Modality (0008,0060); empty where there is none.
        reason: Why it is set aside.
        is_filtered: Whether it is, because of the filters alone.
        digest: SHA-256 of the instance as hexadecimal digits, where there was need for it.
    """

    path: str
    file_size: int
    mtime_ns: int
    member: str = ""
    size: int = 0
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    modality: str = ""
    reason: str = ""
    is_filtered: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An instance that can be sent.

    Attributes:
        path: The file, or the zip archive that holds it.
        member: Its name within the archive; empty where it is a file of its own.
        size: Bytes of the instance.
        file_size: Bytes of the file or archive on disk.
        mtime_ns: When that was last changed, nanoseconds since 1970.
        sop_instance_uid: SOPInstanceUID (0008,0018).
        series_instance_uid: SeriesInstanceUID (0020,000E); empty where there is none.
        modality: Modality (0008,0060); empty where there is none.
    """

    path: str
    member: str
    size: int
    file_size: int
    mtime_ns: int
    sop_instance_uid: str
    series_instance_uid: str
    modality: str

    @property
    def name(self) -> str:
        """What a person calls it: its path, or ``path!member``."""
        return name_of(self.path, self.member)


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """The instances of one study, wherever they lie.

    Attributes:
        study_instance_uid: StudyInstanceUID (0020,000D).
        files: At least one, by path and member; each SOPInstanceUID once.
    """

    study_instance_uid: str
    files: tuple[FoundFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all the instances."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file, or a member of an archive, that is not sent.

    Attributes:
        path: What a person calls it, as `FoundFile.name`.
        reason: Why not, in one line.
        is_filtered: Whether it could be sent, and the filters leave it out.
    """

    path: str
    reason: str
    is_filtered: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a directory holds.

    Attributes:
        studies: Ordered by their first file.
        set_aside: What is not sent, by path.
        files_read: Files that were read now.
        files_known: Files that have not changed since an earlier run read them.
    """

    studies: list[FoundStudy] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    files_read: int = 0
    files_known: int = 0
