"""Entries of files into studies; which of several with the same SOPInstanceUID is sent."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from milvue_async.batch import archives
from milvue_async.batch.found import FoundFile, FoundStudy, SetAside, name_of
from milvue_async.batch.scanning import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from milvue_async.batch.found import Entry

__all__ = ["Grouping"]

_HASHED_BYTES = 1 << 20


class Grouping:
    """Takes the entries of all files, in the order of their paths; every method blocks.

    Attributes:
        set_aside: What is not sent.
        hashed: Paths of the files of which something was hashed.
    """

    def __init__(self) -> None:
        self._studies: dict[str, dict[str, FoundFile]] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._shared: dict[str, str] = {}
        self.set_aside: list[SetAside] = []
        self.hashed: set[str] = set()

    def add(self, entries: Iterable[Entry]) -> None:
        """Put each entry where it belongs, which may read copies of an instance."""
        for entry in entries:
            reason = self._add_instance(entry) if entry.study_instance_uid else entry.reason
            if reason:
                name = name_of(entry.path, entry.member)
                self.set_aside.append(SetAside(name, reason, bool(entry.is_filtered)))

    def studies(self) -> list[FoundStudy]:
        """The studies, in the order of their first files."""
        return [FoundStudy(uid, tuple(files.values())) for uid, files in self._studies.items()]

    def with_digest(self, entry: Entry) -> Entry:
        """An entry that was added, with its digest where there was need for it."""
        return entry._replace(digest=self._digests.get((entry.path, entry.member), ""))

    def _add_instance(self, entry: Entry) -> str:
        """Why an instance is not sent, or an empty string."""
        (path, file_size, mtime_ns, member, size, study, series, uid, modality, _, _, digest) = (
            entry
        )
        # Thousands of files have these in common, and each came with a string of its own.
        series = self._shared.setdefault(series, series)
        modality = self._shared.setdefault(modality, modality)
        file = FoundFile(path, member, size, file_size, mtime_ns, uid, series, modality)
        if digest:
            self._digests[path, member] = digest
        files = self._studies.get(study)
        if files is None:
            files = self._studies[study] = {}
        twin = files.setdefault(uid, file)
        return "" if twin is file else self._repeats(file, twin)

    def _repeats(self, file: FoundFile, twin: FoundFile) -> str:
        try:
            is_same = file.size == twin.size and self._digest(file) == self._digest(twin)
        except archives.ArchiveError as error:
            return str(error)
        except OSError as error:
            return f"{UNREADABLE} ({error.strerror})"
        content = "the same content" if is_same else "other content"
        name = "\\n".join(twin.name.splitlines())
        return f"repeats the SOPInstanceUID of {name}, with {content}"

    def _digest(self, file: FoundFile) -> str:
        key = (file.path, file.member)
        if key not in self._digests:
            digest = hashlib.sha256()
            for piece in _content(file):
                digest.update(piece)
            self._digests[key] = digest.hexdigest()
            self.hashed.add(file.path)
        return self._digests[key]


def _content(file: FoundFile) -> Iterator[bytes]:
    path = Path(file.path)
    if file.member:
        yield from archives.read_member(path, file.member)
        return
    with path.open("rb", buffering=0) as content:
        while block := content.read(_HASHED_BYTES):
            yield block
