"""What a ledger knows of a study, and what that means for the next run; pure but for one query."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from milvue_async.batch.found import FoundStudy
    from milvue_async.predicting import PredictOptions

__all__ = [
    "Action",
    "Decision",
    "SentInstance",
    "Submission",
    "Wanted",
    "content_hash",
    "decide",
    "read_submissions",
    "stamps_of",
    "wanted_of",
]

Action = Literal["send", "ask", "wait", "collect", "keep", "changed"]
Stamp = tuple[str, int, int]

_SETTLED = frozenset({"done", "empty", "forbidden"})


@dataclass(frozen=True, slots=True)
class SentInstance:
    """An instance as it was sent.

    Attributes:
        sop_instance_uid: SOPInstanceUID (0008,0018).
        path: Its file, or the archive that it is in.
        member: Its name in the archive, or "".
        size: Bytes.
        mtime_ns: When the file was changed last, in nanoseconds.
        sha256: Of its bytes, in hexadecimal.
    """

    sop_instance_uid: str
    path: str
    member: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Submission:
    """One content of one study, sent or about to be, with one set of upload parameters.

    Attributes:
        number: What the ledger calls it by.
        content: The hash of all its instances; "" where it never came so far.
        parameters: Those of the upload, as JSON.
        state: ``submitting``, ``submitted``, ``predicted`` or ``ended``.
        begun: Whether bytes of it may have arrived.
        accepted: Whether the API is known to have it.
        outcome: Its outcome, where it ended.
        is_final: Whether a further run leaves it at that, unless asked.
        collected: How its results were asked for, and what each command came to, as JSON.
        entry: Its manifest line.
        stamps: Of its instances, to tell without reading them that they are the same.
    """

    number: int
    content: str
    parameters: str
    state: str
    begun: bool
    accepted: bool
    outcome: str | None
    is_final: bool
    collected: str
    entry: Mapping[str, Any] | None
    stamps: frozenset[Stamp]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is asked for.

    Attributes:
        commands: Inference commands.
        retrieve: Parameters of the results.
        parameters: Those of the upload, as JSON.
        retry_failed: Whether to take up what failed for good.
        send_changed: Whether to send a study again whose content or parameters changed.
    """

    commands: tuple[str, ...]
    retrieve: Mapping[str, object] = field(default_factory=dict)
    parameters: str = "{}"
    retry_failed: bool = False
    send_changed: bool = False

    def collected(self, results: Mapping[str, str]) -> str:
        """How results were asked for, and what each command came to, as JSON."""
        record = {"retrieve": dict(self.retrieve), "results": dict(results)}
        return json.dumps(record, sort_keys=True, default=str)

    def has_all(self, submission: Submission) -> bool:
        """Whether all that is wanted of the results was collected before."""
        if not submission.collected:
            return False
        record = json.loads(submission.collected)
        results = record["results"]
        mine = json.loads(self.collected(results))["retrieve"]
        return record["retrieve"] == mine and all(
            results.get(command) in _SETTLED for command in self.commands
        )


def wanted_of(options: PredictOptions, *, retry_failed: bool, send_changed: bool) -> Wanted:
    """What is wanted, by the checked options of a run; parameters that are None do not count."""
    store = {name: value for name, value in options.store.items() if value is not None}
    return Wanted(
        commands=options.commands,
        retrieve={name: value for name, value in options.retrieve.items() if value is not None},
        parameters=json.dumps(store, sort_keys=True, default=str),
        retry_failed=retry_failed,
        send_changed=send_changed,
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a study.

    Attributes:
        action: ``send`` it; ``ask`` whether it is known, and send it if not; ``wait`` for its
            prediction; ``collect`` its results; ``keep`` the outcome it has; or leave it, since
            it was ``changed``.
        known: The submission to go on with, where there is one.
        is_ambiguous: Whether the API knows this StudyInstanceUID from another submission, so that
            asking does not tell whether this one arrived.
    """

    action: Action
    known: Submission | None = None
    is_ambiguous: bool = False


def decide(known: Sequence[Submission], content: str, wanted: Wanted) -> Decision:
    """What to do with a study whose content was determined.

    Args:
        known: What the ledger has of its StudyInstanceUID at this endpoint.
        content: The hash of its instances now.
        wanted: What the run is asked for.
    """
    same = next((each for each in known if _is_same(each, content, wanted.parameters)), None)
    others = [each for each in known if each is not same and each.begun and each.content]
    if same is None or not (same.begun or same.is_final):
        if any(each.accepted for each in others) and not wanted.send_changed:
            return Decision("changed", same)
        # Another content in doubt: if the API knows the study, that is the one it knows.
        return Decision("ask" if others and not wanted.send_changed else "send", same, bool(others))
    if same.state != "ended":
        return _unfinished(same, is_ambiguous=bool(others))
    return _ended(same, wanted, is_ambiguous=bool(others))


def _is_same(submission: Submission, content: str, parameters: str) -> bool:
    return submission.content == content and submission.parameters == parameters


def _unfinished(same: Submission, *, is_ambiguous: bool) -> Decision:
    """An earlier run was cut short."""
    if same.state == "predicted":
        return Decision("collect", same)
    return Decision("wait" if same.accepted else "ask", same, is_ambiguous)


def _ended(same: Submission, wanted: Wanted, *, is_ambiguous: bool) -> Decision:
    if same.outcome in _SETTLED:
        is_retried = wanted.retry_failed and same.outcome == "forbidden"
        is_kept = wanted.has_all(same) and not is_retried
        return Decision("keep" if is_kept else "collect", same)
    if same.is_final and not wanted.retry_failed:
        return Decision("keep", same)
    return Decision("ask", same, is_ambiguous and not same.accepted)


def content_hash(instances: Iterable[SentInstance]) -> str:
    """What tells one content of a study from another: SHA-256 over those of its instances."""
    lines = sorted(f"{each.sop_instance_uid} {each.sha256}" for each in instances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def stamps_of(study: FoundStudy) -> frozenset[Stamp]:
    """What tells, without reading them, that the files of a study are those of before."""
    return frozenset((file.sop_instance_uid, file.size, file.mtime_ns) for file in study.files)


def read_submissions(connection: sqlite3.Connection, endpoint: str) -> dict[str, list[Submission]]:
    """All that a ledger knows of one endpoint, by StudyInstanceUID; blocking."""
    stamps: dict[int, list[Stamp]] = {}
    for number, *stamp in connection.execute(
        "SELECT study, sop_instance_uid, size, mtime_ns FROM instance"
    ):
        stamps.setdefault(number, []).append((stamp[0], stamp[1], stamp[2]))
    rows = connection.execute(
        "SELECT study_instance_uid, id, content, parameters, state, begun, accepted, outcome,"
        " is_final, collected, entry FROM study WHERE endpoint = ? ORDER BY id",
        (endpoint,),
    )
    known: dict[str, list[Submission]] = {}
    for (
        uid,
        number,
        content,
        parameters,
        state,
        begun,
        accepted,
        outcome,
        final,
        how,
        entry,
    ) in rows:
        submission = Submission(
            number=number,
            content=content,
            parameters=parameters,
            state=state,
            begun=bool(begun),
            accepted=bool(accepted),
            outcome=outcome,
            is_final=bool(final),
            collected=how,
            entry=None if entry is None else json.loads(entry),
            stamps=frozenset(stamps.get(number, ())),
        )
        known.setdefault(uid, []).append(submission)
    return known
