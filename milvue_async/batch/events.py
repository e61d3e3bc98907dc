"""What a run tells while it goes: frozen events, and whoever is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from milvue_async.predicting import StageChanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvue_async.outcomes import StudyOutcome

__all__ = [
    "DiscoveryProgressed",
    "Event",
    "FileSetAside",
    "IntakeStopped",
    "OutageBegan",
    "OutageEnded",
    "Polled",
    "Reporter",
    "RunEnded",
    "RunStarted",
    "StageChanged",
    "StudyEnded",
]


@dataclass(frozen=True, slots=True)
class DiscoveryProgressed:
    """More of the directory was read.

    Attributes:
        files: Files seen so far.
        total: Files there are.
    """

    files: int
    total: int


@dataclass(frozen=True, slots=True)
class FileSetAside:
    """A file is not sent.

    Attributes:
        path: The file, or ``archive!member``.
        reason: Why not, in one line.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The directory was read.

    Attributes:
        studies: Studies in it.
        instances: Files of these.
        bytes: Bytes of these.
        set_aside: Files that are not sent.
    """

    studies: int
    instances: int
    bytes: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class Polled:
    """Statuses were asked for; told now and then.

    Attributes:
        questions: How many so far.
        waiting: Studies whose predictions are waited for.
    """

    questions: int
    waiting: int


@dataclass(frozen=True, slots=True)
class StudyEnded:
    """A study has its outcome.

    Attributes:
        outcome: With the results, where they are in memory.
        is_kept: Whether it is that of an earlier run.
    """

    outcome: StudyOutcome = field(repr=False)
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class IntakeStopped:
    """Nothing more is sent; what is under way goes on.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class OutageBegan:
    """The API cannot be reached; studies wait.

    Attributes:
        reason: The last failure, in one line.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class OutageEnded:
    """The API can be reached again.

    Attributes:
        seconds: How long it could not.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over.

    Attributes:
        outcomes: Studies by outcome.
        already_done: Those among them that needed nothing.
        is_interrupted: Whether it was asked to end before it was through.
    """

    outcomes: Mapping[str, int]
    already_done: int
    is_interrupted: bool


Event = (
    DiscoveryProgressed
    | FileSetAside
    | RunStarted
    | StageChanged
    | Polled
    | StudyEnded
    | IntakeStopped
    | OutageBegan
    | OutageEnded
    | RunEnded
)


class Reporter(Protocol):
    """Whoever is told how a run goes."""

    def __call__(self, event: Event, /) -> None:
        """Take an event, on the event loop: what takes long belongs elsewhere."""
