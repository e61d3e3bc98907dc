"""One study of a run: what is known of it, and what becomes of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from milvue_async.errors import (
    APIError,
    AuthenticationError,
    MilvueError,
    PredictionFailedError,
    QuotaExceededError,
)
from milvue_async.outcomes import StudyOutcome, outcome_of_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvue_async.batch.found import FoundStudy
    from milvue_async.batch.submissions import Decision, Submission
    from milvue_async.outcomes import Outcome

__all__ = ["Course", "ends_for_good", "kept_outcome"]


@dataclass(slots=True, eq=False)
class Course:
    """A study on its way; what waits for a prediction holds no more than this.

    Attributes:
        found: The study, as the directory was read.
        known: What the ledger has of its StudyInstanceUID.
        decision: What to do with it; None until its content is known.
        number: What the ledger calls it by, once it has begun.
        attempts: How often its upload was begun in this run.
        begun: Whether bytes of it may have arrived, in this run or before.
        accepted: Whether the API is known to have it.
        facts: Seconds of each stage, by the name in the manifest.
        is_resumed: Whether an earlier run began it.
    """

    found: FoundStudy
    known: Sequence[Submission] = ()
    decision: Decision | None = None
    number: int | None = None
    attempts: int = 0
    begun: bool = False
    accepted: bool = False
    since: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)
    is_resumed: bool = False

    @property
    def study_instance_uid(self) -> str:
        """StudyInstanceUID (0020,000D)."""
        return self.found.study_instance_uid

    def go_on_with(self, submission: Submission) -> None:
        """It was begun by an earlier run."""
        self.is_resumed = True
        self.number = submission.number
        self.begun, self.accepted = submission.begun, submission.accepted
        if submission.entry is not None:
            self.attempts = int(submission.entry.get("attempts", 0))

    def time(self, name: str, now: float) -> None:
        """A stage ends now, and the next begins."""
        self.facts[name] = now - self.since
        self.since = now

    def failed(self, error: Exception, outcome: Outcome | None = None) -> StudyOutcome:
        """Its outcome, where that is a failure."""
        return self._complete(
            StudyOutcome(
                study_instance_uid=self.study_instance_uid,
                outcome=outcome or outcome_of_error(error),
                error=error,
            )
        )

    def collected(self, outcome: StudyOutcome) -> StudyOutcome:
        """Its outcome, where its results were collected."""
        self.facts["collect_s"] = outcome.collect_s
        return self._complete(outcome)

    def _complete(self, outcome: StudyOutcome) -> StudyOutcome:
        facts: dict[str, Any] = dict(self.facts)
        return dataclasses.replace(
            outcome,
            attempts=self.attempts,
            instances=len(self.found.files),
            bytes=self.found.size,
            study=None,
            **facts,
        )


def ends_for_good(outcome: StudyOutcome) -> bool:
    """Whether the same would happen again, so that a further run leaves it, unless asked.

    A network that broke, a key that was refused, a quota that was used up, a disk that was full
    or a prediction that took too long may all be otherwise by then.
    """
    error = outcome.error
    if error is None or isinstance(error, PredictionFailedError):
        return True
    if not isinstance(error, APIError) or isinstance(error, AuthenticationError):
        return False
    return not (error.retryable or isinstance(error, QuotaExceededError))


def kept_outcome(submission: Submission) -> StudyOutcome:
    """What an earlier run wrote into the manifest, as an outcome without its results."""
    entry = submission.entry or {}
    error = entry.get("error")
    names = ("attempts", "instances", "bytes", "upload_s", "predict_s", "collect_s")
    facts: dict[str, Any] = {name: entry[name] for name in names if name in entry}
    return StudyOutcome(
        study_instance_uid=entry.get("StudyInstanceUID", ""),
        outcome=entry.get("outcome", "error"),
        error=None if error is None else MilvueError(error),
        **facts,
    )
