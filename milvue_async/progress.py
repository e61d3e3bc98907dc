"""Progress of a run: live on a terminal, plain lines in a pipe, or events as JSON."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from milvue_async.batch.events import (
    DiscoveryProgressed,
    FileSetAside,
    IntakeStopped,
    OutageBegan,
    OutageEnded,
    Polled,
    RunStarted,
    StageChanged,
    StudyEnded,
)
from milvue_async.batch.outputs import manifest_entry

if TYPE_CHECKING:
    from typing import Self, TextIO

    from milvue_async.batch.events import Event
    from milvue_async.predicting import Stage

__all__ = ["RunProgress", "event_json", "printable"]

_MEGABYTE = 1e6
_GOOD = frozenset({"done", "empty"})
_STAGES: tuple[Stage, ...] = ("upload", "wait", "collect")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_SHOWN_SET_ASIDE = 20  # of files, in a pipe: set_aside.csv has them all


class RunProgress:
    """Shows how a run goes; it is a `Reporter`.

    Args:
        stream: Where to; a terminal gets a live bar, anything else one line a study.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._is_live = self._console.is_terminal
        self._task = self._bar.add_task("reading headers", total=None)
        self._stages: dict[str, Stage] = {}
        self._counts: Counter[str] = Counter()
        self._sent = 0
        self._total = 0
        self._ended = 0
        self._questions = 0
        self._set_aside = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._is_live:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._bar.stop()

    def __call__(self, event: Event, /) -> None:
        """Take an event."""
        match event:
            case DiscoveryProgressed():
                self._bar.update(self._task, completed=event.files, total=event.total)
            case FileSetAside():
                self._show_set_aside(event)
            case RunStarted():
                self._begin(event)
            case StageChanged():
                self._change(event)
            case Polled():
                self._questions = event.questions
            case StudyEnded():
                self._end(event)
            case IntakeStopped():
                self._say(f"nothing more is sent: {event.reason}")
            case OutageBegan():
                self._say(f"the API cannot be reached, studies wait: {event.reason}")
            case OutageEnded():
                self._say(f"the API can be reached again, after {event.seconds:.0f} s")

    def _show_set_aside(self, event: FileSetAside) -> None:
        self._set_aside += 1
        if self._set_aside <= _SHOWN_SET_ASIDE:
            self._say(f"set aside: {event.path}: {event.reason}")
        elif self._set_aside == _SHOWN_SET_ASIDE + 1:
            self._say("set aside: and more; set_aside.csv will have them all")

    def _begin(self, event: RunStarted) -> None:
        self._total = event.studies
        self._say(
            f"{event.studies} studies in {event.instances} files, "
            f"{event.bytes / _MEGABYTE:.1f} MB; {event.set_aside} files set aside"
        )
        self._started = time.monotonic()
        self._bar.reset(self._task, total=self._total, completed=0)

    def _change(self, event: StageChanged) -> None:
        before = self._stages.pop(event.study_instance_uid, None)
        if before is not None:
            self._counts[before] -= 1
        if event.stage != "ended":
            self._stages[event.study_instance_uid] = event.stage
            self._counts[event.stage] += 1
        if before == "upload" and event.stage == "wait":
            self._sent += event.bytes
        if self._is_live:
            self._bar.update(self._task, description=self._description())

    def _end(self, event: StudyEnded) -> None:
        outcome = event.outcome
        self._ended += 1
        self._bar.update(self._task, advance=1)
        is_good = outcome.outcome in _GOOD
        if event.is_kept and is_good:
            return
        if not self._is_live or not is_good:
            name = outcome.study_instance_uid or "a study without UID"
            reason = f": {outcome.error}" if outcome.error is not None else ""
            before = " (as before)" if event.is_kept else ""
            self._say(f"{self._ended}/{self._total} {outcome.outcome}{before} {name}{reason}")

    def _description(self) -> str:
        rate = self._sent / _MEGABYTE / max(time.monotonic() - self._started, 1e-3)
        counts = ", ".join(f"{self._counts[stage]} {stage}" for stage in _STAGES)
        return f"{counts}, {rate:.1f} MB/s, {self._questions} polls"

    def _say(self, line: str) -> None:
        self._console.print(printable(line))


def event_json(event: Event) -> dict[str, Any]:
    """An event as it stands in a line of JSON: its name, then its fields."""
    name = _CAPITAL.sub("_", type(event).__name__).lower()
    if isinstance(event, StudyEnded):
        return {"event": name, **manifest_entry(event.outcome), "is_kept": event.is_kept}
    fields = dataclasses.asdict(event)
    if isinstance(event, StageChanged):
        fields = {"StudyInstanceUID": fields.pop("study_instance_uid"), **fields}
    return {"event": name, **fields}


def printable(line: str) -> str:
    """A line without control characters: no file name may move the cursor."""
    return "".join(c if c.isprintable() else "�" for c in line)
