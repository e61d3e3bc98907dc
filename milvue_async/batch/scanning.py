"""Files read to entries, and the program that does it in a process of its own.

The program takes JSON lines and gives JSON lines: the filters, answered by ``ready``; then lists
of files, each answered by the entries of each. It ends when its input does. It is quick to start
because it imports neither the client nor pydicom, except where the filters need the latter.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from milvue_async import dicom
from milvue_async.batch import archives
from milvue_async.batch.filters import Filters
from milvue_async.batch.found import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from milvue_async.batch.found import ListedFile

__all__ = ["UNREADABLE", "main", "scan_files"]

# Begins the reasons that may pass without the file changing.
UNREADABLE = "cannot be read"
_DICOMDIR = "a DICOMDIR"


def scan_files(files: Iterable[ListedFile], filters: Filters) -> list[list[Entry]]:
    """The entries of each file: one, or one for each member of an archive; blocking."""
    return [_scan(file, filters) for file in files]


def _scan(file: ListedFile, filters: Filters) -> list[Entry]:
    whole = Entry(*file, size=file[1])
    path = Path(whole.path)
    try:
        entry = _examine(whole, path, filters)
        if entry.reason and not entry.is_filtered and archives.is_archive(path):
            return _scan_archive(whole, path, filters)
    except OSError as error:
        entry = _unreadable(whole, error)
    return [entry]


def _scan_archive(whole: Entry, path: Path, filters: Filters) -> list[Entry]:
    entries: list[Entry] = []
    try:
        for member in archives.read_members(path):
            size = len(member.content)
            entry = whole._replace(member=member.name, size=size, reason=member.reason)
            entries.append(entry if entry.reason else _examine(entry, member.content, filters))
    except archives.ArchiveError as error:
        return [whole._replace(reason=str(error))]
    except OSError as error:
        return [_unreadable(whole, error)]
    return entries


def _unreadable(entry: Entry, error: OSError) -> Entry:
    return entry._replace(reason=f"{UNREADABLE} ({error.strerror or type(error).__name__})")


def _examine(entry: Entry, content: Path | bytes, filters: Filters) -> Entry:
    """Fill in what an instance is, or why it is set aside."""
    try:
        header = dicom.read_header(content)
        refused_by = filters.refused_by(header, content)
    except dicom.DicomError as error:
        reason = str(error)
        return entry if reason.startswith(_DICOMDIR) else entry._replace(reason=reason)
    if refused_by:
        return entry._replace(reason=f"left out by {refused_by}", is_filtered=True)
    return entry._replace(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        modality=header.modality,
    )


def main() -> None:
    """Answer on the standard output until the standard input ends."""
    # An interrupt of the terminal is for the process that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        # What a library prints is no answer.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        _serve(sys.stdin.buffer, answers)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    filters = Filters.from_json(requests.readline())
    _answer(answers, "ready")
    for line in requests:
        files = [(path, size, mtime_ns) for path, size, mtime_ns in json.loads(line)]
        _answer(answers, scan_files(files, filters))


def _answer(answers: BinaryIO, value: str | Sequence[Sequence[Entry]]) -> None:
    answers.write(json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
