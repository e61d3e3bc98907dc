"""The studies a simulator knows: their life cycle, the quota, and an account of what it saw.

A study announced for signed URLs is unknown (404) until the last of its instances has come; then,
as after a STOW of whole instances, it runs for the scripted time and ends as scripted. Sending a
known study again starts it again. No timer runs: a status follows from the clock when it is asked.

The state lives on the event loop; nothing here blocks or waits.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from milvue_async.protocol.models import InferenceStatusEnum, StudyStatusEnum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from milvue_async.simulator.bodies import Instance
    from milvue_async.simulator.config import SimulatorConfig

__all__ = ["InstanceAccount", "QuotaError", "State", "Study", "StudyAccount"]


class QuotaError(Exception):
    """The quota is used up."""


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
class StudyAccount:
    """What a simulator saw of one study. Times are seconds of the simulator's clock.

    Attributes:
        study_instance_uid: The study.
        status: As ``/status`` would say it now; None while announced instances are missing.
        instances: SOPInstanceUID to what was received.
        missing: SOPInstanceUIDs announced for signed URLs and not received yet.
        submissions: Accepted ``POST /v3/studies``.
        post_query: Query of the last of them, without ``signed_url``.
        status_polls: Answers of ``/status``.
        deliveries: Command to DICOM results delivered whole: sent to the last byte, or given as
            a list of signed URLs.
        json_deliveries: Command to JSON predictions delivered.
        result_queries: Command to the query of the last retrieval of its DICOM results.
        flagged: Accepted ``POST /v3/interesting``.
        complete_at: When the last instance came in; None before that.
        finished_at: When inference ended or will end; None before all instances are there.
        seen_finished_at: When a client first learnt from ``/status`` that it ended.
    """

    study_instance_uid: str
    status: StudyStatusEnum | None
    instances: Mapping[str, InstanceAccount]
    missing: frozenset[str]
    submissions: int
    post_query: Mapping[str, str]
    status_polls: int
    deliveries: Mapping[str, int]
    json_deliveries: Mapping[str, int]
    result_queries: Mapping[str, Mapping[str, str]]
    flagged: int
    complete_at: float | None
    finished_at: float | None
    seen_finished_at: float | None


@dataclass(slots=True)
class Study:
    """One study, as the state keeps it. The fields are those of `StudyAccount`."""

    study_instance_uid: str
    instances: dict[str, Instance] = field(default_factory=dict)
    received: Counter[str] = field(default_factory=Counter)
    missing: set[str] = field(default_factory=set)
    submissions: int = 0
    post_query: dict[str, str] = field(default_factory=dict)
    status_polls: int = 0
    deliveries: Counter[str] = field(default_factory=Counter)
    json_deliveries: Counter[str] = field(default_factory=Counter)
    result_queries: dict[str, dict[str, str]] = field(default_factory=dict)
    flagged: int = 0
    complete_at: float | None = None
    finished_at: float | None = None
    seen_finished_at: float | None = None


class State:
    """Every study of one simulator.

    Args:
        config: The script.
        clock: Seconds that only grow, such as `time.monotonic`.
    """

    def __init__(self, config: SimulatorConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._studies: dict[str, Study] = {}
        self._admitted = 0

    @contextmanager
    def admission(self) -> Iterator[None]:
        """A place in the quota, given back if the submission inside fails.

        Raises:
            QuotaError: There is none left.
        """
        quota = self._config.quota_studies
        if quota is not None and self._admitted >= quota:
            raise QuotaError
        self._admitted += 1
        try:
            yield
        except BaseException:
            self._admitted -= 1
            raise

    def submit(self, instances: Iterable[Instance], query: Mapping[str, str]) -> Study:
        """Accept whole instances of one study; it runs from now on."""
        instances = list(instances)
        study = self._submitted(instances[0].study_instance_uid, query)
        for instance in instances:
            self._store(study, instance)
        study.missing.clear()  # what was announced before is no longer waited for
        self._start(study)
        return study

    def announce(self, instances: Iterable[Instance], query: Mapping[str, str]) -> Study:
        """Accept the announcement of one study; it runs once each instance was received."""
        instances = list(instances)
        study = self._submitted(instances[0].study_instance_uid, query)
        study.missing = {instance.sop_instance_uid for instance in instances}
        return study

    def receive(self, instance: Instance) -> None:
        """Take in an announced instance. The last one makes the study run.

        One that is received twice, because its reply was lost, starts nothing again.
        """
        study = self._studies[instance.study_instance_uid]
        last = study.missing == {instance.sop_instance_uid}
        self._store(study, instance)
        if last:
            self._start(study)

    def find(self, study_instance_uid: str) -> Study | None:
        """The study, if all its instances have come at least once."""
        study = self._studies.get(study_instance_uid)
        return study if study and study.finished_at is not None else None

    def ask_status(self, study: Study) -> StudyStatusEnum:
        """The status of a study, and that a client asked for it."""
        now = self._clock()
        status = self._status(study, now)
        study.status_polls += 1
        if status != StudyStatusEnum.RUNNING and study.seen_finished_at is None:
            study.seen_finished_at = now
        return status

    def inference_status(
        self, study: Study, command: str
    ) -> InferenceStatusEnum | Literal["error"]:
        """How far the results of a command are; ``error`` where there will be none."""
        outcome = self._config.outcomes.get(study.study_instance_uid, "done")
        if outcome == "forbidden" or command in self._config.forbidden_commands:
            return InferenceStatusEnum.FORBIDDEN
        if not self._is_finished(study, self._clock() - self._config.json_lag_seconds):
            return InferenceStatusEnum.RUNNING
        return "error" if outcome == "error" else InferenceStatusEnum(outcome)

    def account(self) -> dict[str, StudyAccount]:
        """StudyInstanceUID to what was seen of it, announced studies included."""
        return {uid: self._account(study) for uid, study in self._studies.items()}

    def _submitted(self, study_instance_uid: str, query: Mapping[str, str]) -> Study:
        study = self._studies.setdefault(study_instance_uid, Study(study_instance_uid))
        study.submissions += 1
        study.post_query = dict(query)
        return study

    @staticmethod
    def _store(study: Study, instance: Instance) -> None:
        study.instances[instance.sop_instance_uid] = instance
        study.received[instance.sop_instance_uid] += 1
        study.missing.discard(instance.sop_instance_uid)

    def _start(self, study: Study) -> None:
        study.complete_at = self._clock()
        study.finished_at = study.complete_at + self._config.inference_seconds
        study.seen_finished_at = None

    @staticmethod
    def _is_finished(study: Study, now: float) -> bool:
        return study.finished_at is not None and now >= study.finished_at

    def _status(self, study: Study, now: float) -> StudyStatusEnum:
        if not self._is_finished(study, now):
            return StudyStatusEnum.RUNNING
        failed = self._config.outcomes.get(study.study_instance_uid) == "error"
        return StudyStatusEnum.ERROR if failed else StudyStatusEnum.DONE

    def _account(self, study: Study) -> StudyAccount:
        known = study.finished_at is not None
        return StudyAccount(
            study_instance_uid=study.study_instance_uid,
            status=self._status(study, self._clock()) if known else None,
            instances={
                uid: InstanceAccount(instance.size, instance.sha256, study.received[uid])
                for uid, instance in study.instances.items()
            },
            missing=frozenset(study.missing),
            submissions=study.submissions,
            post_query=dict(study.post_query),
            status_polls=study.status_polls,
            deliveries=dict(study.deliveries),
            json_deliveries=dict(study.json_deliveries),
            result_queries={
                command: dict(query) for command, query in study.result_queries.items()
            },
            flagged=study.flagged,
            complete_at=study.complete_at,
            finished_at=study.finished_at,
            seen_finished_at=study.seen_finished_at,
        )
