"""Progress of a run: live on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from typing import Self, TextIO

    from milvue_async.batch.discovery import Discovery
    from milvue_async.outcomes import StudyOutcome
    from milvue_async.predicting import Stage, StageChanged

__all__ = ["RunProgress", "printable"]

_MEGABYTE = 1e6
_GOOD = {"done", "empty"}


class RunProgress:
    """Shows how a run goes.

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
        self._sent = 0
        self._total = 0
        self._ended = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if self._is_live:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._bar.stop()

    def discovered(self, found: Discovery, already_done: int) -> None:
        """The directory was read."""
        self._total = len(found.studies) - already_done
        files = sum(len(study.instances) for study in found.studies)
        self._say(
            f"{len(found.studies)} studies in {files} files, {len(found.set_aside)} files set "
            f"aside, {already_done} studies done before"
        )
        for file in found.set_aside:
            self._say(f"set aside: {file.path}: {file.reason}")
        self._started = time.monotonic()
        self._bar.update(self._task, total=self._total)

    def changed(self, event: StageChanged) -> None:
        """A study went on to its next stage."""
        before = self._stages.pop(event.study_instance_uid, None)
        if event.stage != "ended":
            self._stages[event.study_instance_uid] = event.stage
        if before == "upload" and event.stage == "wait":
            self._sent += event.bytes
        self._bar.update(self._task, description=self._description())

    def ended(self, outcome: StudyOutcome) -> None:
        """A study has its outcome."""
        self._ended += 1
        self._bar.update(self._task, advance=1)
        if not self._is_live or outcome.outcome not in _GOOD:
            name = outcome.study_instance_uid or "a study without UID"
            reason = f": {outcome.error}" if outcome.error is not None else ""
            self._say(f"{self._ended}/{self._total} {outcome.outcome} {name}{reason}")

    def _description(self) -> str:
        stages = list(self._stages.values())
        rate = self._sent / _MEGABYTE / max(time.monotonic() - self._started, 1e-3)
        counts = ", ".join(f"{stages.count(s)} {s}" for s in ("upload", "wait", "collect"))
        return f"{counts}, {rate:.1f} MB/s"

    def _say(self, line: str) -> None:
        self._console.print(printable(line))


def printable(line: str) -> str:
    """A line without control characters: no file name may move the cursor."""
    return "".join(c if c.isprintable() else "�" for c in line)
