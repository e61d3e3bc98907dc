"""What a run would do: the same discovery, the same decisions, and nothing sent."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import anyio.to_thread

from milvue_async.batch.course import Course
from milvue_async.batch.discovery import discover
from milvue_async.batch.filters import Filters
from milvue_async.batch.ledger import read_ledger
from milvue_async.batch.run import decision_without_reading
from milvue_async.batch.submissions import read_submissions, wanted_of
from milvue_async.client import DEFAULT_COMMANDS, predict_options
from milvue_async.settings import checked_url

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Mapping

    from milvue_async.batch.found import SetAside
    from milvue_async.batch.submissions import Submission
    from milvue_async.client import PredictParameters
    from milvue_async.routes import Transfer

__all__ = ["Plan", "PlannedStudy", "make_plan"]

_REASONS = {
    "ask": "it is in doubt whether it was sent, so the API is asked first",
    "wait": "sent before, waits for its prediction",
    "collect": "sent before, only its results are fetched",
    "keep": "as an earlier run left it",
    "changed": "its images or upload parameters changed since it was sent: --send-changed sends it",
    "compare": "its files changed since it was sent: they are compared with what was sent",
}
_LIKELY_RATE = 12.5e6  # bytes a second: 100 Mbit/s
_MINUTE = 60.0
_LATELY = 500


@dataclass(frozen=True, slots=True)
class PlannedStudy:
    """What would become of one study.

    Attributes:
        study_instance_uid: StudyInstanceUID (0020,000D).
        action: ``send``; ``ask``, ``wait``, ``collect``, ``keep``, ``changed`` where an earlier
            run sent it, or ``compare`` where its bytes must be read to tell.
        instances: Files of it.
        bytes: Bytes of these.
        reason: Why it is not simply sent; "" where it is.
    """

    study_instance_uid: str
    action: Literal["send", "ask", "wait", "collect", "keep", "changed", "compare"]
    instances: int
    bytes: int
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The same for a program; the UID has its name of the manifest."""
        fields = dataclasses.asdict(self)
        return {"StudyInstanceUID": fields.pop("study_instance_uid"), **fields}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        studies: In the order in which they would be taken.
        set_aside: Files that would not be sent.
        studies_per_second: Of the last run into the same folder; None where there was none.
    """

    studies: tuple[PlannedStudy, ...]
    set_aside: tuple[SetAside, ...]
    studies_per_second: float | None = None

    @property
    def bytes_to_send(self) -> int:
        """Bytes of the studies that would be sent."""
        return sum(study.bytes for study in self.studies if study.action == "send")

    @property
    def estimated_seconds(self) -> float:
        """A guess: by the pace of the last run, else by the bytes at 100 Mbit/s."""
        if self.studies_per_second:
            left = sum(study.action not in {"keep", "changed"} for study in self.studies)
            return left / self.studies_per_second
        return self.bytes_to_send / _LIKELY_RATE

    def summary(self) -> str:
        """The whole in one line."""
        counts = Counter(study.action for study in self.studies)
        parts = [f"{count} to {action}" for action, count in sorted(counts.items())]
        basis = "by the last run" if self.studies_per_second else "of upload at 100 Mbit/s"
        minutes = max(1, math.ceil(self.estimated_seconds / _MINUTE))
        filtered = sum(file.is_filtered for file in self.set_aside)
        return (
            f"{', '.join(parts) or 'no studies'}; {self.bytes_to_send / 1e6:.1f} MB to send, some "
            f"{minutes} min {basis}; {len(self.set_aside) - filtered} files set aside, "
            f"{filtered} filtered; nothing was sent"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "studies": [study.as_json() for study in self.studies],
            "set_aside": [dataclasses.asdict(file) for file in self.set_aside],
            "bytes_to_send": self.bytes_to_send,
            "estimated_seconds": round(self.estimated_seconds, 1),
        }


async def make_plan(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    api_url: str | None = None,
    filters: Filters | None = None,
    commands: Iterable[str] = DEFAULT_COMMANDS,
    transfer: Transfer = "dicomweb",
    timeout: float = 600.0,
    retry_failed: bool = False,
    send_changed: bool = False,
    **parameters: Unpack[PredictParameters],
) -> Plan:
    """Say what `process_directory` would do with the same arguments; sends and writes nothing.

    Args:
        folder: Where the DICOM files are.
        output: The results folder; without it everything is new.
        api_url: Root of the API; that of the last run into ``output`` by default.
        filters: As for `process_directory`.
        commands: As for `process_directory`.
        transfer: As for `process_directory`.
        timeout: As for `process_directory`.
        retry_failed: As for `process_directory`.
        send_changed: As for `process_directory`.
        **parameters: As for `process_directory`.

    Raises:
        ConfigurationError: The folder is none, an option cannot work, or a run is at work in
            ``output``.
    """
    options = predict_options(
        commands, dict(parameters), transfer=transfer, timeout=timeout, output=output
    )
    wanted = wanted_of(options, retry_failed=retry_failed, send_changed=send_changed)
    excluded = [] if output is None else [Path(output)]
    found = await discover(Path(folder), excluded=excluded, filters=filters or Filters())
    known: Mapping[str, list[Submission]] = {}
    rate = None
    if output is not None:
        endpoint = None if api_url is None else checked_url(api_url)
        known, rate = await anyio.to_thread.run_sync(_read, Path(output), endpoint)
    studies = []
    for study in found.studies:
        course = Course(study, known=known.get(study.study_instance_uid, ()))
        decision = decision_without_reading(course, wanted)
        action = "compare" if decision is None else decision.action
        reason = _REASONS.get(action, "")
        if action == "keep" and decision is not None and decision.known is not None:
            reason = f"{decision.known.outcome}, {reason}"
        studies.append(
            PlannedStudy(study.study_instance_uid, action, len(study.files), study.size, reason)
        )
    return Plan(tuple(studies), tuple(found.set_aside), rate)


def _read(
    output: Path, endpoint: str | None
) -> tuple[Mapping[str, list[Submission]], float | None]:
    with read_ledger(output) as connection:
        if connection is None:
            return {}, None
        endpoint = endpoint or _last_endpoint(connection)
        return read_submissions(connection, endpoint), _pace(connection)


def _last_endpoint(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT endpoint FROM study ORDER BY id DESC LIMIT 1").fetchone()
    return "" if row is None else str(row[0])


def _pace(connection: sqlite3.Connection) -> float | None:
    """Studies a second, over those that ended last."""
    count, first, last = connection.execute(
        "SELECT count(*), min(ended_at), max(ended_at) FROM (SELECT ended_at FROM study"
        " WHERE accepted = 1 AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT ?)",
        (_LATELY,),
    ).fetchone()
    return count / (last - first) if count > 1 and last > first else None
