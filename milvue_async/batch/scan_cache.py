"""What reading the files of earlier runs came to, in a table of the ledger.

It has UIDs, modalities and verdicts, and no other value of a header. What filters look at is not
kept either: only what they said, and of their own text a digest.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from milvue_async.batch.found import Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["ScanCache"]

# Part of each key: another number where another version of the package would judge otherwise.
_VERSION = 1
_TABLE = (
    "CREATE TABLE IF NOT EXISTS scan (path, file_size INTEGER, mtime_ns INTEGER, member TEXT,"
    " size INTEGER, study_instance_uid TEXT, series_instance_uid TEXT, sop_instance_uid TEXT,"
    " modality TEXT, reason TEXT, is_filtered INTEGER, digest TEXT, filters TEXT,"
    " PRIMARY KEY (path, member)) WITHOUT ROWID"
)
_FIELDS = ", ".join(Entry._fields)
_PLACES = ", ".join("?" * (len(Entry._fields) + 1))
_INSERT = f"INSERT INTO scan ({_FIELDS}, filters) VALUES ({_PLACES})"  # noqa: S608  names of columns
_SELECT = f"SELECT {_FIELDS} FROM scan WHERE filters = ? ORDER BY path, member"  # noqa: S608  the same
_DELETE = "DELETE FROM scan WHERE path = ?"


class ScanCache:
    """Entries of files by path, size, time of change and filters; every method blocks.

    It only saves time. So where the database cannot be read there is nothing known, and where it
    cannot be written the next run reads again.

    Args:
        connection: In autocommit mode (``isolation_level=None``); may be used from several
            threads, one at a time.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self, filters: str) -> dict[str, list[Entry]]:
        """All that is known under these filters, by path; of a file, what it was is in each entry.

        Args:
            filters: `Filters.text`.
        """
        try:
            self._connection.execute(_TABLE)
            rows = self._connection.execute(_SELECT, (_key(filters),)).fetchall()
        except sqlite3.Error:
            return {}
        entries = list(map(Entry._make, rows))
        if any(type(row[0]) is bytes for row in rows):
            entries = [entry._replace(path=_path(entry.path)) for entry in entries]
        known = {entry[0]: [entry] for entry in entries}
        return known if len(known) == len(entries) else _by_path(entries)

    def store(
        self, filters: str, entries: Iterable[Iterable[Entry]], present: Collection[str]
    ) -> None:
        """Keep what was read, in one transaction, and drop what is of files that are gone.

        Args:
            filters: `Filters.text`.
            entries: Of each file that was read, all.
            present: Paths of all files that are there.
        """
        try:
            self._connection.execute(_TABLE)
            self._connection.execute("BEGIN IMMEDIATE")
            self._replace(_key(filters), entries, present)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _replace(
        self, key: str, entries: Iterable[Iterable[Entry]], present: Collection[str]
    ) -> None:
        execute_many = self._connection.executemany
        paths = self._connection.execute("SELECT DISTINCT path FROM scan").fetchall()
        execute_many(_DELETE, [row for row in paths if _path(row[0]) not in present])
        for some in entries:
            rows = [(_stored(entry.path), *entry[1:], key) for entry in some]
            execute_many(_DELETE, [row[:1] for row in rows[:1]])
            execute_many(_INSERT, rows)


def _by_path(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """For all files what is quicker where each has one entry."""
    known: dict[str, list[Entry]] = {}
    for entry in entries:
        known.setdefault(entry.path, []).append(entry)
    return known


def _key(filters: str) -> str:
    return f"{_VERSION}-{hashlib.sha256(filters.encode()).hexdigest()}"


def _stored(path: str) -> str | bytes:
    """The path, as bytes where it is no text: SQLite takes no lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _path(stored: str | bytes) -> str:
    return stored if isinstance(stored, str) else os.fsdecode(stored)
