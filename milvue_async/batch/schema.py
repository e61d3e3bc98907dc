"""The tables of a ledger, and how an older ledger gets those of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milvue_async.errors import ConfigurationError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

__all__ = ["migrate"]

# Each brings a ledger one version further; what has been released is not changed any more.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE study (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL,
            content TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            parameters TEXT NOT NULL,
            state TEXT NOT NULL,
            begun INTEGER NOT NULL DEFAULT 0,
            accepted INTEGER NOT NULL DEFAULT 0,
            outcome TEXT,
            is_final INTEGER NOT NULL DEFAULT 0,
            collected TEXT NOT NULL DEFAULT '',
            entry TEXT,
            ended_at REAL,
            UNIQUE (study_instance_uid, content, endpoint, parameters)
        )""",
        """CREATE TABLE instance (
            study INTEGER NOT NULL REFERENCES study (id),
            sop_instance_uid TEXT NOT NULL,
            path BLOB NOT NULL,
            member TEXT NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (study, sop_instance_uid)
        ) WITHOUT ROWID""",
        """CREATE TABLE transition (
            study INTEGER NOT NULL REFERENCES study (id),
            state TEXT NOT NULL,
            at REAL NOT NULL
        )""",
        "CREATE INDEX transition_of_study ON transition (study)",
    ),
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a ledger to the version of this package, all of it or not at all.

    Raises:
        ConfigurationError: A newer version of the package wrote it.
        sqlite3.Error: It is locked, damaged, or cannot be written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _migrated(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if version > len(_MIGRATIONS):
        raise ConfigurationError(f"{path} was written by a newer version of milvue-async")


def _migrated(connection: sqlite3.Connection) -> int:
    """The version that it had, or has where that is a newer one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < len(_MIGRATIONS):
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
    return int(version)
