"""What became of a study: exactly one outcome, and one for each command inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from milvue_async.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    InvalidStudyError,
    InvalidUIDError,
    MilvueError,
    NotFoundError,
    PredictionError,
    PredictionForbiddenError,
    PredictionTimeoutError,
    QuotaExceededError,
    ServerError,
)
from milvue_async.protocol.models import SmarturgencesV3, SmartxpertV3
from milvue_async.protocol.requests import STATUS_ROUTE, STORE_ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from milvue_async.dicom import Dataset


__all__ = [
    "CommandResult",
    "NotSentError",
    "Outcome",
    "StudyOutcome",
    "collected_outcome",
    "combined_outcome",
    "outcome_of_error",
    "stops_intake",
]


class NotSentError(MilvueError):
    """Nothing of a study was sent, on purpose: it is left for a later run."""


Outcome = Literal["done", "empty", "forbidden", "error", "rejected", "timed_out", "skipped"]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one inference command gave.

    Attributes:
        command: Its name, such as ``smarturgences``.
        outcome: ``done``, ``empty``, ``forbidden``, ``error`` or ``timed_out``. What was fetched
            before an error is there all the same.
        prediction: The JSON result, for the commands that have one.
        datasets: DICOM results in memory, where no output folder was given.
        paths: Files written, where one was given.
        error: Why it failed; None where it did not.
    """

    command: str
    outcome: Outcome
    prediction: SmarturgencesV3 | SmartxpertV3 | None = field(default=None, repr=False)
    datasets: tuple[Dataset, ...] = field(default=(), repr=False)
    paths: tuple[Path, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOutcome:
    """What became of one study.

    Attributes:
        study_instance_uid: StudyInstanceUID (0020,000D), or "" where it could not be read.
        outcome: One of `Outcome`.
        attempts: How often its upload was begun.
        instances: Instances in the study.
        bytes: Bytes of all its files.
        upload_s: Seconds until the server had it, waiting for a slot included.
        predict_s: Seconds from there until the prediction had ended.
        collect_s: Seconds for fetching the results.
        error: Why it failed; None where it did not.
        results: By command.
        study: What was given as this study.
    """

    study_instance_uid: str
    outcome: Outcome
    attempts: int = 0
    instances: int = 0
    bytes: int = 0
    upload_s: float = 0.0
    predict_s: float = 0.0
    collect_s: float = 0.0
    error: Exception | None = None
    results: Mapping[str, CommandResult] = field(default_factory=dict)
    study: Any = field(default=None, repr=False)

    @property
    def smarturgences(self) -> SmarturgencesV3 | None:
        """The JSON result of smarturgences, where there is one."""
        result = self.results.get("smarturgences")
        prediction = None if result is None else result.prediction
        return prediction if isinstance(prediction, SmarturgencesV3) else None

    @property
    def smartxpert(self) -> SmartxpertV3 | None:
        """The JSON result of smartxpert, where there is one."""
        result = self.results.get("smartxpert")
        prediction = None if result is None else result.prediction
        return prediction if isinstance(prediction, SmartxpertV3) else None

    def datasets(self, command: str) -> tuple[Dataset, ...]:
        """The DICOM results of a command in memory; empty where there are none."""
        return self.results[command].datasets if command in self.results else ()

    def paths(self, command: str) -> tuple[Path, ...]:
        """The files written for a command; empty where there are none."""
        return self.results[command].paths if command in self.results else ()


def outcome_of_error(error: Exception) -> Outcome:
    """The outcome that a failure stands for."""
    if isinstance(error, NotSentError):
        return "skipped"
    if isinstance(error, PredictionTimeoutError):
        return "timed_out"
    if isinstance(error, PredictionForbiddenError):
        return "forbidden"
    if type(error) is PredictionError:
        return "empty"
    if isinstance(error, InvalidStudyError | InvalidUIDError | ConfigurationError):
        return "rejected"
    return "rejected" if _rejects_study(error) else "error"


def _rejects_study(error: Exception) -> bool:
    """Whether the server would not have this study: 400, 413, 415, 422 in answer to the upload.

    The other refusals may pass, or concern all studies.
    """
    others = ServerError | AuthenticationError | QuotaExceededError | NotFoundError
    if not isinstance(error, APIError) or isinstance(error, others):
        return False
    return error.route == STORE_ROUTE and not error.retryable


def combined_outcome(results: Iterable[CommandResult]) -> Outcome:
    """The outcome of a study by those of its commands.

    A failure of one shows; otherwise it is done where one delivered, and forbidden where all
    were.
    """
    outcomes = {result.outcome for result in results}
    for outcome in ("error", "rejected", "timed_out", "done", "empty", "forbidden"):
        if outcome in outcomes:
            return outcome
    return "empty"


def collected_outcome(
    study_instance_uid: str, results: Mapping[str, CommandResult], *, seconds: float
) -> StudyOutcome:
    """The outcome of a study whose results were asked for, by those of its commands."""
    failures = (result.error for result in results.values() if result.error is not None)
    return StudyOutcome(
        study_instance_uid=study_instance_uid,
        outcome=combined_outcome(results.values()),
        error=next(failures, None),
        results=results,
        collect_s=seconds,
    )


def stops_intake(error: Exception) -> bool:
    """Whether what failed before a study was sent means that the next ones would fail as well.

    A key that is refused, or a quota that waiting did not lift: going on would only hammer. A
    refusal by object storage says nothing of the key.
    """
    if not isinstance(error, AuthenticationError | QuotaExceededError):
        return False
    return error.route in {STORE_ROUTE, STATUS_ROUTE}
