"""What the page shows: the queue, the faults and the studies at this moment."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from milvue_async.simulator.account import QueueEntry, StudyAccount
    from milvue_async.simulator.faults import Fault, FaultAccount, Faults
    from milvue_async.simulator.state import State, Study

__all__ = [
    "Overview",
    "OverviewFault",
    "OverviewSlots",
    "OverviewStudy",
    "OverviewWaiting",
    "overview_of",
]

Stage = Literal["receiving", "waiting", "running", "done", "empty", "error", "forbidden"]

_MOST_STUDIES = 200


class _Row(BaseModel):
    """Base of what is told."""

    model_config = ConfigDict(frozen=True)


class OverviewSlots(_Row):
    """Inference slots; ``total`` is left out where there is no end of them."""

    busy: int
    total: int | None = None


class OverviewWaiting(_Row):
    """A study that waits for a slot, and since how many seconds."""

    study_instance_uid: str
    seconds: float


class OverviewFault(_Row):
    """A fault, and how often it struck; how often it may yet is left out where that has no end."""

    kind: str
    route: str
    strikes: int
    left: int | None = None


class OverviewStudy(_Row):
    """A study.

    ``instances`` counts those known of, ``missing`` those of them that are announced and not yet
    received, ``bytes`` what was received, ``deliveries`` whole deliveries of results.
    ``first_seen`` is when it was first accepted, in seconds of the simulator's clock, by default
    since 1970. ``sent_with`` is the query it came with last.
    """

    study_instance_uid: str
    stage: Stage
    instances: int
    missing: int
    bytes: int
    submissions: int
    status_polls: int
    deliveries: int
    first_seen: float
    sent_with: dict[str, str]


class Overview(_Row):
    """Everything at one moment.

    ``counts`` are of all studies, by stage. ``waiting`` has the next one first. ``studies`` are the
    last ones sent, newest first, and ``left_out`` the number of those before them.
    """

    counts: dict[Stage, int]
    slots: OverviewSlots
    waiting: list[OverviewWaiting]
    faults: list[OverviewFault]
    studies: list[OverviewStudy]
    left_out: int


def overview_of(state: State, faults: Faults, slots: int | None, now: float) -> Overview:
    """What the page shows.

    Args:
        state: The studies.
        faults: What goes wrong.
        slots: How many studies are inferred at a time; None for no end.
        now: Time of the simulator's clock.
    """
    queue = state.queue()
    waiting = [entry for entry in queue if entry.state == "waiting"]
    newest = heapq.nlargest(_MOST_STUDIES, state.studies(), key=_sent_at)
    counts = Counter(_stage(state, study, now) for study in state.studies())
    return Overview(
        counts={stage: counts[stage] for stage in get_args(Stage)},
        slots=OverviewSlots(busy=len(queue) - len(waiting), total=slots),
        waiting=[_waiting(entry, now) for entry in waiting[:_MOST_STUDIES]],
        faults=[_fault(account) for account in faults.account()],
        studies=[
            _study(account, _stage(state, study, now))
            for study in newest
            if (account := state.account_of(study.study_instance_uid))
        ],
        left_out=counts.total() - len(newest),
    )


def _sent_at(study: Study) -> float:
    return study.history[-1].accepted_at


def _stage(state: State, study: Study, now: float) -> Stage:
    place = study.place
    if place is None or study.missing:
        return "receiving"
    if now < place.finished_at:
        return "waiting" if now < place.started_at else "running"
    return state.outcome(study)


def _waiting(entry: QueueEntry, now: float) -> OverviewWaiting:
    return OverviewWaiting(
        study_instance_uid=entry.study_instance_uid, seconds=now - entry.entered_at
    )


def _fault(account: FaultAccount) -> OverviewFault:
    fault = account.fault
    return OverviewFault(
        kind=_named(fault),
        route=fault.route,
        strikes=account.strikes,
        left=None if fault.count is None else fault.count - account.strikes,
    )


def _named(fault: Fault) -> str:
    """What goes wrong, and how often where that is not always."""
    parts = [f"{fault.kind} {fault.status}" if "status" in fault.kind else fault.kind]
    if fault.probability < 1:
        parts.append(f"{fault.probability * 100:g} %")
    if fault.every is not None:
        parts.append(f"1 in {fault.every}")
    return ", ".join(parts)


def _study(account: StudyAccount, stage: Stage) -> OverviewStudy:
    by_command = [sum(counts.values()) for counts in account.deliveries.values()]
    return OverviewStudy(
        study_instance_uid=account.study_instance_uid,
        stage=stage,
        instances=len(account.instances.keys() | account.missing),
        missing=len(account.missing),
        bytes=sum(instance.size for instance in account.instances.values()),
        submissions=account.submissions,
        status_polls=account.status_polls,
        deliveries=sum(by_command) + sum(account.json_deliveries.values()),
        first_seen=account.history[0].accepted_at,
        sent_with=dict(account.post_query),
    )
