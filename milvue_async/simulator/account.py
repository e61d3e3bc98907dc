"""What a simulator tells of what it saw: values to assert on, here and as JSON.

Times are seconds of the simulator's clock, by default seconds since 1970 (Unix time).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvue_async.protocol.models import StudyStatusEnum

__all__ = ["InstanceAccount", "QueueEntry", "StudyAccount", "SubmissionAccount", "Transfer"]

Transfer = Literal["dicomweb", "signed_url"]


@dataclass(frozen=True, slots=True)
class InstanceAccount:
    """What came in of one instance.

    Attributes:
        size: Bytes of the instance as last received.
        sha256: Their SHA-256, in hexadecimal.
        received: How often it was received and accepted.
    """

    size: int
    sha256: str
    received: int


@dataclass(frozen=True, slots=True)
class SubmissionAccount:
    """One accepted ``POST /v3/studies``.

    Attributes:
        accepted_at: When it was accepted.
        transfer: ``dicomweb`` for whole instances, ``signed_url`` for an announcement of them.
        answered: Whether the answer was written to its last byte; a client that was not
            answered cannot know that the study was accepted.
        complete_at: When its last instance came in; None before that.
        started_at: When inference left the queue, or will; None before it is complete.
        finished_at: When inference ended, or will; None before it is complete.
    """

    accepted_at: float
    transfer: Transfer
    answered: bool
    complete_at: float | None
    started_at: float | None
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class StudyAccount:
    """What a simulator saw of one study.

    Attributes:
        study_instance_uid: The study.
        status: As ``/status`` would say it now; None while announced instances are missing.
        instances: SOPInstanceUID to what was received.
        missing: SOPInstanceUIDs announced for signed URLs and not received yet.
        submissions: Accepted ``POST /v3/studies``.
        history: The same, one by one.
        post_query: Query of the last of them, without ``signed_url``.
        status_polls: Times ``/status`` was asked.
        deliveries: Command to transfer (``dicomweb`` or ``signed_url``) to how often its DICOM
            results were delivered whole: every byte of them written, as they should be. By
            signed URL this means that each object of the list was.
        json_deliveries: Command to JSON predictions delivered, in the same sense.
        result_queries: Command to the query of the last retrieval of its DICOM results.
        flagged: Accepted ``POST /v3/interesting``.
        complete_at: When the last instance came in; None before that.
        finished_at: When inference ended or will end; None before all instances are there.
        seen_finished_at: When a client first got an answer of ``/status`` that says it ended.
    """

    study_instance_uid: str
    status: StudyStatusEnum | None
    instances: Mapping[str, InstanceAccount]
    missing: frozenset[str]
    submissions: int
    history: tuple[SubmissionAccount, ...]
    post_query: Mapping[str, str]
    status_polls: int
    deliveries: Mapping[str, Mapping[str, int]]
    json_deliveries: Mapping[str, int]
    result_queries: Mapping[str, Mapping[str, str]]
    flagged: int
    complete_at: float | None
    finished_at: float | None
    seen_finished_at: float | None


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One accepted, complete submission whose inference has not ended.

    Attributes:
        study_instance_uid: Its study.
        state: ``waiting`` for a slot, or ``running`` in one. The API says ``running`` to both.
        slot: The slot it runs in, or will, from 0; None where there is no end of slots.
        entered_at: When it came in.
        started_at: When it leaves the queue.
        finished_at: When its inference ends.
    """

    study_instance_uid: str
    state: Literal["waiting", "running"]
    slot: int | None
    entered_at: float
    started_at: float
    finished_at: float
