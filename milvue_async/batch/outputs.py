"""The manifest and the summary: one line a study, true whenever the run is killed."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import TYPE_CHECKING, Any

from milvue_async.errors import ConfigurationError
from milvue_async.files import write_private_file
from milvue_async.protocol.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from milvue_async.batch.found import SetAside
    from milvue_async.outcomes import StudyOutcome

__all__ = ["MANIFEST", "Manifest", "manifest_entry", "read_manifest"]

MANIFEST = "manifest.jsonl"
SUMMARY = "summary.csv"
SET_ASIDE = "set_aside.csv"

_SUMMARY_COLUMNS = (
    "StudyInstanceUID",
    "outcome",
    "attempts",
    "instances",
    "bytes",
    "upload_s",
    "predict_s",
    "collect_s",
    "error",
)
# A spreadsheet would run a cell that begins so.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def manifest_entry(outcome: StudyOutcome) -> dict[str, Any]:
    """The line of one study in the manifest."""
    return {
        "StudyInstanceUID": outcome.study_instance_uid,
        "outcome": outcome.outcome,
        "attempts": outcome.attempts,
        "instances": outcome.instances,
        "bytes": outcome.bytes,
        "upload_s": round(outcome.upload_s, 3),
        "predict_s": round(outcome.predict_s, 3),
        "collect_s": round(outcome.collect_s, 3),
        "error": None if outcome.error is None else str(outcome.error),
        "results": {command: result.outcome for command, result in outcome.results.items()},
    }


def read_manifest(output: Path) -> dict[str, dict[str, Any]]:
    """The last line of each study in a manifest, by StudyInstanceUID; blocking.

    A line that a kill cut short does not count, nor one that is none of ours.

    Raises:
        ConfigurationError: The manifest is there and cannot be read.
    """
    try:
        lines = (output / MANIFEST).read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = error.strerror
    else:
        entries = (_entry(line) for line in lines)
        return {entry["StudyInstanceUID"]: entry for entry in entries if entry is not None}
    raise ConfigurationError(f"{output / MANIFEST} cannot be read ({reason})")


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("results"), dict):
        return None
    is_ours = is_uid(entry.get("StudyInstanceUID")) and isinstance(entry.get("outcome"), str)
    return entry if is_ours else None


class Manifest:
    """``manifest.jsonl`` of a results folder, appended to as studies end; most methods block.

    The ledger knows more, and knows it first: whatever a kill cut short here is made good from it
    when the next run begins. A study that ends again in a later run has two lines while that run
    lasts; the last counts.

    Args:
        output: The results folder; it is there.
        entries: The lines of earlier runs, by StudyInstanceUID.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, output: Path, entries: Mapping[str, dict[str, Any]]) -> None:
        self._output = output
        self._entries = dict(entries)
        self._rewrite()
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(output / MANIFEST, flags)

    def append(self, entry: dict[str, Any]) -> None:
        """Write the line of a study that ended.

        Raises:
            OSError: The disk is full, and the like.
        """
        self._entries[entry["StudyInstanceUID"]] = entry
        line = memoryview(_line(entry))
        while line:
            line = line[os.write(self._descriptor, line) :]

    def keep(self, entry: Mapping[str, Any]) -> None:
        """Let the line of an earlier run stand; does not block."""
        self._entries[entry["StudyInstanceUID"]] = dict(entry)

    def write_summary(self, set_aside: Iterable[SetAside]) -> None:
        """Write what a run leaves when it ends: nothing is appended after that.

        ``manifest.jsonl`` with one line a study, ``summary.csv`` and, of files that were not
        sent, ``set_aside.csv``.

        Raises:
            OSError: They cannot be written.
        """
        self._rewrite()
        rows = ([entry.get(name) for name in _SUMMARY_COLUMNS] for entry in self._entries.values())
        self._write_table(SUMMARY, _SUMMARY_COLUMNS, rows)
        files = ([file.path, file.reason] for file in set_aside)
        self._write_table(SET_ASIDE, ("path", "reason"), files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _rewrite(self) -> None:
        lines = b"".join(_line(entry) for entry in self._entries.values())
        write_private_file(self._output / MANIFEST, lines)

    def _write_table(
        self, name: str, columns: tuple[str, ...], rows: Iterable[Sequence[object]]
    ) -> None:
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(columns)
        table.writerows([_cell(value) for value in row] for row in rows)
        write_private_file(self._output / name, text.getvalue().encode("utf-8", "replace"))


def _line(entry: dict[str, Any]) -> bytes:
    # A file name may have bytes that are no text.
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _cell(value: object) -> object:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA_STARTS)
    return f"'{value}" if is_formula else value
