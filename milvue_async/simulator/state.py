"""The studies a simulator knows: their life cycle, and an account of what it saw.

A study announced for signed URLs is unknown (404) until the last of its instances has come; then,
as after a STOW of whole instances, it waits for a slot, runs for its service time and ends as
scripted. Sending a known study again infers it again; what its first inference had of the slots
it keeps. No timer runs: a status follows from the clock when it is asked.

The state lives on the event loop; nothing here blocks or waits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from milvue_async.protocol.models import InferenceStatusEnum, StudyStatusEnum
from milvue_async.simulator.account import (
    InstanceAccount,
    QueueEntry,
    StudyAccount,
    SubmissionAccount,
)
from milvue_async.simulator.chance import chance
from milvue_async.simulator.slots import Place, Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from milvue_async.simulator.account import Transfer
    from milvue_async.simulator.bodies import Instance
    from milvue_async.simulator.config import Outcome, SimulatorConfig

__all__ = ["State", "Study", "Submission"]


@dataclass(slots=True)
class Submission:
    """One accepted submission. ``place`` is that of its inference, once it is complete."""

    accepted_at: float
    transfer: Transfer
    answered: bool = False
    place: Place | None = None

    def account(self) -> SubmissionAccount:
        """What is told of it."""
        return SubmissionAccount(
            accepted_at=self.accepted_at,
            transfer=self.transfer,
            answered=self.answered,
            complete_at=self.place.entered_at if self.place else None,
            started_at=self.place.started_at if self.place else None,
            finished_at=self.place.finished_at if self.place else None,
        )


@dataclass(slots=True)
class Study:
    """One study, as the state keeps it. Most fields are those of `StudyAccount`.

    Attributes:
        history: Its submissions.
        delivered: Command to DICOM results delivered whole by WADO, or as a list of nothing.
        listed: Command to the lists given out of its results, by folder: file name to how often
            the file was delivered whole.
    """

    study_instance_uid: str
    instances: dict[str, Instance] = field(default_factory=dict)
    received: Counter[str] = field(default_factory=Counter)
    missing: set[str] = field(default_factory=set)
    history: list[Submission] = field(default_factory=list)
    post_query: dict[str, str] = field(default_factory=dict)
    status_polls: int = 0
    delivered: dict[str, Counter[str]] = field(default_factory=dict)
    listed: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    json_deliveries: Counter[str] = field(default_factory=Counter)
    result_queries: dict[str, dict[str, str]] = field(default_factory=dict)
    flagged: int = 0
    seen_finished_at: float | None = None

    @property
    def place(self) -> Place | None:
        """The inference that the results are of; None before all instances were there once."""
        places = (submission.place for submission in reversed(self.history))
        return next(filter(None, places), None)


class State:
    """Every study of one simulator.

    Args:
        config: The script.
        clock: Seconds that only grow.
    """

    def __init__(self, config: SimulatorConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget every study, and empty the queue."""
        self._studies: dict[str, Study] = {}
        self._listings: dict[str, tuple[Study, str]] = {}
        self._slots = Slots(self._config.slots)
        self._changed: dict[str, Study] = {}

    def restore(self, studies: Iterable[Study]) -> None:
        """Know studies again that were known before."""
        for study in studies:
            self._studies[study.study_instance_uid] = study
            for submission in study.history:
                if submission.place is not None:
                    self._slots.restore(submission.place)
            for command, lists in study.listed.items():
                self._listings.update(dict.fromkeys(lists, (study, command)))

    def take_changed(self) -> list[Study]:
        """The studies about which something changed since this was asked last."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def mark_changed(self, studies: Iterable[Study]) -> None:
        """Have studies among those about which something changed."""
        self._changed.update({study.study_instance_uid: study for study in studies})

    def submit(self, instances: Sequence[Instance], query: Mapping[str, str]) -> Study:
        """Accept whole instances of one study; it is complete."""
        study = self._submitted(instances[0].study_instance_uid, query, "dicomweb")
        for instance in instances:
            self._store(study, instance)
        study.missing.clear()  # what was announced before is no longer waited for
        self._start(study)
        return study

    def announce(self, instances: Sequence[Instance], query: Mapping[str, str]) -> Study:
        """Accept the announcement of one study; it is complete once each instance was received."""
        study = self._submitted(instances[0].study_instance_uid, query, "signed_url")
        study.missing = {instance.sop_instance_uid for instance in instances}
        return study

    def receive(self, instance: Instance) -> bool:
        """Take in an announced instance. The last one makes the study complete.

        One that is received twice, because its reply was lost, starts nothing again.

        Returns:
            Whether its study was announced; if not, nothing is taken in.
        """
        study = self._studies.get(instance.study_instance_uid)
        if study is None:
            return False
        last = study.missing == {instance.sop_instance_uid}
        self._store(study, instance)
        if last:
            self._start(study)
        return True

    def find(self, study_instance_uid: str) -> Study | None:
        """The study, if all its instances have come at least once."""
        study = self._studies.get(study_instance_uid)
        return study if study and study.place else None

    def ask_status(self, study: Study) -> StudyStatusEnum:
        """The status of a study, and that a client asked for it."""
        study.status_polls += 1
        self.mark_changed([study])
        return self._status(study)

    def inference_status(
        self, study: Study, command: str
    ) -> InferenceStatusEnum | Literal["error"]:
        """How far the results of a command are; ``error`` where there will be none."""
        outcome = self.outcome(study)
        if outcome == "forbidden" or command in self._config.forbidden_commands:
            return InferenceStatusEnum.FORBIDDEN
        if not self._is_finished(study, self._clock() - self._config.json_lag_seconds):
            return InferenceStatusEnum.RUNNING
        return "error" if outcome == "error" else InferenceStatusEnum(outcome)

    def retrieve(self, study: Study, command: str, query: Mapping[str, str]) -> None:
        """A client asked for the DICOM results of a command."""
        study.result_queries[command] = dict(query)
        self.mark_changed([study])

    def list_results(self, study: Study, command: str, folder: str, files: Iterable[str]) -> None:
        """A client is given the list of these results: files of a folder."""
        delivered = study.listed.setdefault(command, {}).setdefault(folder, Counter())
        for file in files:
            delivered.setdefault(file, 0)
        self._listings[folder] = (study, command)
        self.mark_changed([study])

    def flag(self, study: Study) -> None:
        """A client flagged a study."""
        study.flagged += 1
        self.mark_changed([study])

    def answered(self, study: Study, submission: Submission) -> None:
        """The answer to a submission was written whole."""
        submission.answered = True
        self.mark_changed([study])

    def told_status(self, study: Study, status: StudyStatusEnum) -> None:
        """An answer of ``/status`` was written whole."""
        if status != StudyStatusEnum.RUNNING and study.seen_finished_at is None:
            study.seen_finished_at = self._clock()
            self.mark_changed([study])

    def delivered(self, study: Study, command: str, transfer: Transfer) -> None:
        """DICOM results were written whole by WADO, or a list of no results."""
        study.delivered.setdefault(command, Counter())[transfer] += 1
        self.mark_changed([study])

    def delivered_json(self, study: Study, command: str) -> None:
        """A JSON prediction was written whole."""
        study.json_deliveries[command] += 1
        self.mark_changed([study])

    def delivered_object(self, folder: str, file: str) -> None:
        """A listed result was written whole."""
        if folder in self._listings:
            study, command = self._listings[folder]
            study.listed[command][folder][file] += 1
            self.mark_changed([study])

    def account(self) -> dict[str, StudyAccount]:
        """StudyInstanceUID to what was seen of it, announced studies included."""
        return {uid: self._account(study) for uid, study in self._studies.items()}

    def account_of(self, study_instance_uid: str) -> StudyAccount | None:
        """What was seen of one study; None if nothing was."""
        study = self._studies.get(study_instance_uid)
        return self._account(study) if study else None

    def studies(self) -> Collection[Study]:
        """Every study, announced ones included."""
        return self._studies.values()

    def outcome(self, study: Study) -> Outcome:
        """How the inference of a study ends, whether or not it has."""
        uid = study.study_instance_uid
        if uid in self._config.outcomes:
            return self._config.outcomes[uid]
        drawn = chance(self._config.seed, "outcome", uid)
        for outcome, share in self._config.shares.items():
            if drawn < share:
                return outcome
            drawn -= share
        return "done"

    def queue(self) -> list[QueueEntry]:
        """What waits or runs now, in the order in which inference takes it."""
        now = self._clock()
        entries = [
            _entry(uid, submission.place, now)
            for uid, study in self._studies.items()
            for submission in study.history
            if submission.place is not None and now < submission.place.finished_at
        ]
        return sorted(entries, key=lambda entry: (entry.started_at, entry.entered_at))

    def _submitted(
        self, study_instance_uid: str, query: Mapping[str, str], transfer: Transfer
    ) -> Study:
        study = self._studies.setdefault(study_instance_uid, Study(study_instance_uid))
        study.history.append(Submission(self._clock(), transfer))
        study.post_query = dict(query)
        self.mark_changed([study])
        return study

    def _store(self, study: Study, instance: Instance) -> None:
        study.instances[instance.sop_instance_uid] = instance
        study.received[instance.sop_instance_uid] += 1
        study.missing.discard(instance.sop_instance_uid)
        self.mark_changed([study])

    def _start(self, study: Study) -> None:
        submission = study.history[-1]
        number = len(study.history)
        drawn = chance(self._config.seed, "service", study.study_instance_uid, number)
        seconds = self._config.service_time.seconds(drawn)
        submission.place = self._slots.take(self._clock(), seconds)
        study.seen_finished_at = None

    @staticmethod
    def _is_finished(study: Study, now: float) -> bool:
        return study.place is not None and now >= study.place.finished_at

    def _status(self, study: Study) -> StudyStatusEnum:
        if not self._is_finished(study, self._clock()):
            return StudyStatusEnum.RUNNING
        failed = self.outcome(study) == "error"
        return StudyStatusEnum.ERROR if failed else StudyStatusEnum.DONE

    def _account(self, study: Study) -> StudyAccount:
        place = study.place
        return StudyAccount(
            study_instance_uid=study.study_instance_uid,
            status=self._status(study) if place else None,
            instances={
                uid: InstanceAccount(instance.size, instance.sha256, study.received[uid])
                for uid, instance in study.instances.items()
            },
            missing=frozenset(study.missing),
            submissions=len(study.history),
            history=tuple(submission.account() for submission in study.history),
            post_query=dict(study.post_query),
            status_polls=study.status_polls,
            deliveries=_deliveries(study),
            json_deliveries=dict(study.json_deliveries),
            result_queries={
                command: dict(query) for command, query in study.result_queries.items()
            },
            flagged=study.flagged,
            complete_at=place.entered_at if place else None,
            finished_at=place.finished_at if place else None,
            seen_finished_at=study.seen_finished_at,
        )


def _entry(study_instance_uid: str, place: Place, now: float) -> QueueEntry:
    return QueueEntry(
        study_instance_uid=study_instance_uid,
        state="running" if place.started_at <= now else "waiting",
        slot=place.slot,
        entered_at=place.entered_at,
        started_at=place.started_at,
        finished_at=place.finished_at,
    )


def _deliveries(study: Study) -> dict[str, dict[str, int]]:
    """Command to transfer to whole deliveries; a list is delivered once each file of it is."""
    deliveries = {command: dict(counts) for command, counts in study.delivered.items()}
    for command, lists in study.listed.items():
        whole = sum(min(files.values(), default=0) for files in lists.values())
        if whole:
            counts = deliveries.setdefault(command, {})
            counts["signed_url"] = counts.get("signed_url", 0) + whole
    return deliveries
