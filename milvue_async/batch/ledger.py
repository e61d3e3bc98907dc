"""The ledger of a results folder: what was sent and what came back, in SQLite.

Every step of a study is on the disk (WAL, ``synchronous=FULL``) before the next one is taken:
``submitting`` before the first byte goes out, ``submitted`` after the reply, ``predicted`` and
``ended``. Steps of studies that come together share one commit. One process owns the ledger; its
lock goes with it, however it ends.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread

from milvue_async.batch.schema import migrate
from milvue_async.batch.submissions import Submission, read_submissions
from milvue_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from milvue_async.batch.submissions import SentInstance

__all__ = ["LEDGER", "Ledger", "LedgerError", "read_entries", "read_ledger"]

LEDGER = "ledger.sqlite"

_Statement = tuple[str, tuple[Any, ...]]

_BEGIN = (
    "INSERT INTO study (id, study_instance_uid, content, endpoint, parameters, state, begun)"
    " VALUES (?, ?, ?, ?, ?, 'submitting', 1)"
    " ON CONFLICT (study_instance_uid, content, endpoint, parameters)"
    " DO UPDATE SET state = 'submitting', begun = 1, accepted = 0, outcome = NULL, is_final = 0"
)
_INSTANCE = (
    "INSERT OR REPLACE INTO instance"
    " (study, sop_instance_uid, path, member, size, mtime_ns, sha256) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_STATE = "UPDATE study SET state = ?, accepted = 1 WHERE id = ?"
_TRANSITION = "INSERT INTO transition (study, state, at) VALUES (?, ?, ?)"
_UNSENT = (
    "INSERT INTO study (id, study_instance_uid, content, endpoint, parameters, state, outcome,"
    " is_final, entry, ended_at) VALUES (?, ?, '', ?, ?, 'ended', ?, 0, ?, ?)"
    " ON CONFLICT (study_instance_uid, content, endpoint, parameters)"
    " DO UPDATE SET outcome = excluded.outcome, entry = excluded.entry,"
    " ended_at = excluded.ended_at"
)
_UNSENT_TRANSITION = (
    "INSERT INTO transition (study, state, at) SELECT id, 'ended', ? FROM study"
    " WHERE study_instance_uid = ? AND content = '' AND endpoint = ? AND parameters = ?"
)
_ENDED_OTHERWISE = "DELETE FROM study WHERE study_instance_uid = ? AND content = ''"
_ENDED = (
    "UPDATE study SET state = 'ended', outcome = ?, is_final = ?, begun = ?, accepted = ?,"
    " collected = ?, entry = ?, ended_at = ? WHERE id = ?"
)


class LedgerError(OSError):
    """The ledger could not be written: nothing may be sent any more."""


class _Change:
    """Statements that are to be on the disk together, and what is to be done after that."""

    def __init__(self, statements: Sequence[_Statement], after: Callable[[], None]) -> None:
        self.statements = statements
        self.after = after
        self.is_done = False
        self.error: LedgerError | None = None


class Ledger:
    """The open ledger of one run.

    Args:
        output: The results folder; it is there.
        endpoint: Root of the API that the run sends to.
        now: Seconds since 1970, for the record alone.

    Raises:
        ConfigurationError: Another process owns it, it is none of ours, or a newer version's.
        OSError: It cannot be read or written.
    """

    def __init__(
        self, output: Path, endpoint: str, *, now: Callable[[], float] = time.time
    ) -> None:
        self.path = output / LEDGER
        self._endpoint = endpoint
        self._now = now
        self._pending: list[_Change] = []
        self._limiter = anyio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self.connection = _opened(self.path)
        try:
            with _translated(self.path):
                (last,) = self.connection.execute("SELECT max(id) FROM study").fetchone()
        except BaseException:
            self.connection.close()
            raise
        self._last = last or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have it; blocking."""
        with self._lock:
            self.connection.close()

    def submissions(self) -> dict[str, list[Submission]]:
        """What is known of each study at this endpoint, by StudyInstanceUID; blocking."""
        with _translated(self.path):
            return read_submissions(self.connection, self._endpoint)

    def entries(self) -> dict[str, dict[str, Any]]:
        """The manifest line of each study that has ended, by StudyInstanceUID; blocking."""
        with _translated(self.path):
            return read_entries(self.connection)

    async def begin(
        self,
        study_instance_uid: str,
        content: str,
        parameters: str,
        instances: Sequence[SentInstance],
        known: Submission | None,
    ) -> int:
        """A study is about to be sent: ``submitting``.

        Args:
            study_instance_uid: The study.
            content: The hash of all its instances.
            parameters: Those of the upload, as JSON.
            instances: What is sent.
            known: The same submission, where an earlier run began it.

        Returns:
            What to call it by from now on.

        Raises:
            OSError: It could not be brought to the disk. Nothing may be sent.
        """
        number = self._number(known)
        key = (number, study_instance_uid, content, self._endpoint, parameters)
        rows = [
            (_INSTANCE, (number, each.sop_instance_uid, os.fsencode(each.path), each.member,
                         each.size, each.mtime_ns, each.sha256))
            for each in instances
        ]  # fmt: skip
        await self._write([(_BEGIN, key), *rows, self._transition(number, "submitting")])
        return number

    async def submitted(self, number: int) -> None:
        """The API has a study: ``submitted``.

        Raises:
            OSError: It could not be brought to the disk.
        """
        await self._write(self._step(number, "submitted"))

    def predicted(self, number: int) -> None:
        """The prediction of a study was seen done: ``predicted``.

        It goes to the disk with the next step of any study: were it lost, its status would only
        be asked again.
        """
        self._pending.append(_Change(self._step(number, "predicted"), lambda: None))

    def _step(self, number: int, state: str) -> list[_Statement]:
        return [(_STATE, (state, number)), self._transition(number, state)]

    async def end(
        self,
        number: int,
        entry: dict[str, Any],
        *,
        is_final: bool,
        begun: bool,
        accepted: bool,
        collected: str,
        after: Callable[[], None],
    ) -> None:
        """A study that was begun has its outcome: ``ended``.

        Args:
            number: As `begin` gave it.
            entry: Its manifest line.
            is_final: Whether a further run leaves it at that, unless asked.
            begun: Whether bytes of it may have arrived.
            accepted: Whether the API is known to have it.
            collected: How its results were asked for, as JSON.
            after: Called in the ledger's thread once that is on the disk.

        Raises:
            OSError: It could not be brought to the disk.
        """
        ended = (entry["outcome"], is_final, begun, accepted, collected, json.dumps(entry))
        await self._write(
            [
                (_ENDED_OTHERWISE, (entry["StudyInstanceUID"],)),
                (_ENDED, (*ended, self._now(), number)),
                self._transition(number, "ended"),
            ],
            after,
        )

    async def end_unsent(
        self, entry: dict[str, Any], parameters: str, after: Callable[[], None]
    ) -> None:
        """A study ended of which nothing was sent; arguments and errors as `end`."""
        uid, now = entry["StudyInstanceUID"], self._now()
        key = (uid, self._endpoint, parameters)
        await self._write(
            [
                (_UNSENT, (self._number(None), *key, entry["outcome"], json.dumps(entry), now)),
                (_UNSENT_TRANSITION, (now, *key)),
            ],
            after,
        )

    def _number(self, known: Submission | None) -> int:
        if known is not None:
            return known.number
        self._last += 1
        return self._last

    def _transition(self, number: int, state: str) -> _Statement:
        return _TRANSITION, (number, state, self._now())

    async def _write(
        self, statements: Sequence[_Statement], after: Callable[[], None] = lambda: None
    ) -> None:
        """Commit together with whatever else is waiting for the disk by then."""
        change = _Change(statements, after)
        self._pending.append(change)
        async with self._limiter:
            if not change.is_done:
                await anyio.to_thread.run_sync(self._commit_pending)
        if change.error is not None:
            raise change.error

    def _commit_pending(self) -> None:
        with self._lock:
            changes, self._pending = self._pending, []
            error: LedgerError | None = None
            try:
                with _translated(self.path):
                    self._commit(changes)
                for change in changes:
                    change.after()
            except OSError as failure:
                error = LedgerError(failure.errno, failure.strerror, failure.filename)
            except Exception as failure:  # noqa: BLE001  whatever it was, nothing is on the disk
                error = LedgerError(errno.EIO, str(failure))
            for change in changes:
                change.is_done, change.error = True, error

    def _commit(self, changes: Sequence[_Change]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                for statement, values in change.statements:
                    self.connection.execute(statement, values)
            self.connection.execute("COMMIT")
        except sqlite3.Error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise


@contextmanager
def read_ledger(output: Path) -> Iterator[sqlite3.Connection | None]:
    """The ledger of a folder to be looked at; None where there is none; blocking.

    Raises:
        ConfigurationError: A run is at work on it, or it is none of ours.
    """
    path = output / LEDGER
    if not path.exists():
        yield None
        return
    with closing(_opened(path)) as connection, _translated(path):
        yield connection


def read_entries(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """The manifest line of each study that has ended, by StudyInstanceUID; blocking."""
    rows = connection.execute(
        "SELECT study_instance_uid, entry FROM study WHERE entry IS NOT NULL ORDER BY ended_at, id"
    )
    return {uid: json.loads(entry) for uid, entry in rows}


def _opened(path: Path) -> sqlite3.Connection:
    with _translated(path):
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(path, flags, 0o600))
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Errors of SQLite as those that a caller knows: what, which file, what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    else:
        return
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        raise ConfigurationError(
            f"another milvue-async process is at work in {path.parent}: wait for it, or give "
            "another output folder"
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}:
        raise ConfigurationError(
            f"{path} is damaged, or no ledger of milvue-async ({name}): what was sent cannot be "
            "told from it; restore it, or give another output folder"
        )
    number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN}:
        number = errno.EACCES
    raise OSError(number, os.strerror(number), str(path))
