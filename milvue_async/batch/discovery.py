"""A directory tree into studies: headers only, off the event loop, and each file read once."""

from __future__ import annotations

import os
from operator import attrgetter
from typing import TYPE_CHECKING

import anyio.to_thread

from milvue_async.batch.filters import Filters
from milvue_async.batch.found import Discovery, FoundFile, FoundStudy, SetAside
from milvue_async.batch.grouping import Grouping
from milvue_async.batch.listing import list_files
from milvue_async.batch.readers import read_files
from milvue_async.batch.scanning import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from milvue_async.batch.found import Entry, ListedFile
    from milvue_async.batch.scan_cache import ScanCache

__all__ = ["Discovery", "FoundFile", "FoundStudy", "SetAside", "discover"]

# A process takes 60 ms to start, in which a thread reads some 600 files.
_FEW_FILES = 500
_MAX_PROCESSES = 8
_EVERYTHING = Filters()
_MEMBER = attrgetter("member")


async def discover(
    folder: Path,
    *,
    excluded: Iterable[Path] = (),
    filters: Filters = _EVERYTHING,
    cache: ScanCache | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> Discovery:
    """Read the headers of every file below a folder, whatever the names.

    What comes out depends on the files alone. A DICOMDIR is passed over. Zip archives are looked
    into, not unpacked.

    Args:
        folder: Where to look; links to folders are not followed. A folder below it that cannot be
            listed is set aside.
        excluded: Folders below it to leave out, such as the one for results.
        filters: What of it to leave out.
        cache: What earlier runs read; files that have not changed since are not opened.
        on_progress: Told how many files were seen so far, and how many there are.
        processes: How many to read with, 0 being a thread of this one; by default as many as
            there are processors, at most 8, and a thread where there are few files.

    Raises:
        ConfigurationError: It is no folder, is excluded itself, or cannot be listed.
    """
    files, set_aside = await anyio.to_thread.run_sync(
        list_files, folder, tuple(excluded), abandon_on_cancel=True
    )
    run = _Run(files, set_aside, filters.text, cache)
    await anyio.to_thread.run_sync(run.recall)

    def on_read(entries: list[list[Entry]]) -> None:
        run.take(entries)
        if on_progress is not None:
            on_progress(run.seen, len(files))

    on_read([])
    if processes is None:
        processes = _suitable(len(run.unread), filters)
    await read_files(run.unread, filters, processes=processes, on_read=on_read)
    found = await anyio.to_thread.run_sync(run.group, abandon_on_cancel=True)
    await anyio.to_thread.run_sync(run.keep)
    return found


def _suitable(files: int, filters: Filters) -> int:
    """How many processes; pydicom warns of values of patients, so what it reads is for them."""
    if files < _FEW_FILES and not filters.need_values:
        return 0
    return min(os.cpu_count() or 1, _MAX_PROCESSES)


class _Run:
    """The entries of all files, those that are known and those that are read."""

    def __init__(
        self,
        files: list[ListedFile],
        set_aside: list[SetAside],
        filters: str,
        cache: ScanCache | None,
    ) -> None:
        self._files = files
        self._set_aside = set_aside
        self._filters = filters
        self._cache = cache
        self._entries: dict[str, list[Entry]] = {}
        self._grouping = Grouping()
        self.unread = files
        self.seen = 0

    def recall(self) -> None:
        """Take what the cache knows of files that have not changed."""
        if self._cache is None:
            return
        known = self._entries = self._cache.load(self._filters)
        self.unread = [
            file
            for file in self._files
            if (entries := known.get(file[0])) is None or entries[0][:3] != file
        ]
        self.seen = len(self._files) - len(self.unread)

    def take(self, read: list[list[Entry]]) -> None:
        """Take what was read of some files."""
        for entries in read:
            # Of two copies the first one counts; the cache gives them in this order too.
            entries.sort(key=_MEMBER)
            self._entries[entries[0].path] = entries
        self.seen += len(read)

    def group(self) -> Discovery:
        """Put all of it in order, which may read copies of an instance to compare them."""
        by_path = self._entries
        self._grouping.add(entry for file in self._files for entry in by_path[file[0]])
        set_aside = self._set_aside + self._grouping.set_aside
        set_aside.sort(key=lambda file: file.path)
        files_read = len(self.unread)
        files_known = len(self._files) - files_read
        return Discovery(self._grouping.studies(), set_aside, files_read, files_known)

    def keep(self) -> None:
        """Let the cache have what is new, and be rid of what is gone."""
        changed = {path for path, _, _ in self.unread} | self._grouping.hashed
        is_as_known = not changed and len(self._entries) == len(self._files)
        if self._cache is None or is_as_known:
            return
        entries = (self._lasting(self._entries[path]) for path in sorted(changed))
        present = {path for path, _, _ in self._files}
        self._cache.store(self._filters, filter(None, entries), present)

    def _lasting(self, entries: list[Entry]) -> list[Entry]:
        """The entries of a file, or none where what is wrong is not with the file."""
        if any(entry.reason.startswith(UNREADABLE) for entry in entries):
            return []
        return [self._grouping.with_digest(entry) for entry in entries]
