"""The stages of a run: upload, wait, collect, side by side, bounded, in one task group."""

from __future__ import annotations

import dataclasses
import errno
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from milvue_async.batch.course import Course, ends_for_good, kept_outcome
from milvue_async.batch.events import IntakeStopped, Polled, StageChanged, StudyEnded
from milvue_async.batch.ledger import LedgerError
from milvue_async.batch.outputs import manifest_entry
from milvue_async.batch.submissions import Decision, decide, stamps_of
from milvue_async.batch.uploading import Uploads
from milvue_async.concurrency import first_failure
from milvue_async.errors import ProtocolError
from milvue_async.files import sweep_partials
from milvue_async.outcomes import NotSentError, collected_outcome
from milvue_async.polling import PollScheduler
from milvue_async.predicting import Intake, collect_study

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from anyio.streams.memory import MemoryObjectReceiveStream

    from milvue_async.batch.events import Reporter
    from milvue_async.batch.ledger import Ledger
    from milvue_async.batch.outputs import Manifest
    from milvue_async.batch.submissions import Action, Submission, Wanted
    from milvue_async.outcomes import CommandResult, StudyOutcome
    from milvue_async.predicting import PredictOptions, Stage
    from milvue_async.transport import Transport

__all__ = ["Run", "RunLimits", "decision_without_reading"]

_AHEAD = 2  # as many studies are read or written to the disk while others move bytes
_SECONDS_BETWEEN_POLLED = 0.5
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES})
_PAUSES = (1.0, 4.0)  # seconds before results are asked for again
_GOOD = frozenset({"done", "empty"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """How much of everything at once.

    Attributes:
        max_in_flight: Studies that are under way, most of them waiting for a prediction.
        max_studies: Studies to take up in this run; None for all.
        poll_rate: Questions for a status, a second.
        patience: Seconds without any upload that goes through, after which nothing more is sent.
        grace: Seconds that uploads under way are given when the run is asked to end.
    """

    max_in_flight: int = 10_000
    max_studies: int | None = None
    poll_rate: float = 200.0
    patience: float = 1800.0
    grace: float = 5.0


class Run:
    """Takes studies through all stages; each ends with one outcome, which stops no other.

    Args:
        transport: The connection.
        ledger: Where each step is noted before the next.
        manifest: Gets a line for each study that ends.
        wanted: What the run is asked for.
        options: The same for uploads and results.
        limits: How much at once.
        spool: A folder for what is taken out of archives.
        report: Told how it goes.

    Attributes:
        outcomes: Studies by outcome, those of earlier runs included.
        already_done: Studies that needed nothing.
        is_interrupted: Whether it was asked to end before it was through.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        *,
        manifest: Manifest,
        wanted: Wanted,
        options: PredictOptions,
        limits: RunLimits,
        spool: Path,
        report: Reporter,
    ) -> None:
        self._transport = transport
        self._ledger = ledger
        self._manifest = manifest
        self._wanted = wanted
        self._options = dataclasses.replace(options, on_event=None)
        self._limits = limits
        self._report = report
        self._intake = Intake(lambda reason: report(IntakeStopped(str(reason))))
        self._poller = PollScheduler(
            transport,
            timeout=options.timeout,
            rate=limits.poll_rate,
            on_question=self._polled,
        )
        self._uploads = Uploads(
            transport,
            ledger,
            wanted=wanted,
            options=options,
            intake=self._intake,
            patience=limits.patience,
            spool=spool,
            report=report,
        )
        self._room = anyio.Semaphore(limits.max_in_flight)
        self._stop = anyio.Event()
        self._under_way = 0
        self._all_ended = anyio.Event()
        self._polled_at = -_SECONDS_BETWEEN_POLLED
        self.outcomes: Counter[str] = Counter()
        self.already_done = 0
        self.is_interrupted = False

    async def process(self, courses: Iterable[Course], stop: anyio.Event) -> None:
        """Take every study through, or as far as it gets until ``stop`` is set.

        Raises:
            OSError: The ledger or the manifest cannot be written; nothing more was sent.
        """
        self._stop = stop
        try:
            async with anyio.create_task_group() as background:
                background.start_soon(self._poller.run)
                background.start_soon(self._end_early, background.cancel_scope)
                await self._through_stages(courses)
                background.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            failure = first_failure(group)
        else:
            return
        raise failure

    async def _end_early(self, scope: anyio.CancelScope) -> None:
        """Where the run is to end: begin nothing, let uploads end if they soon do, leave the rest.

        What waits for a prediction, or is cut off, the ledger knows: the next run goes on there.
        """
        await self._stop.wait()
        self.is_interrupted = True
        with anyio.move_on_after(self._limits.grace):
            await self._uploads.until_none_is_sending()
        scope.cancel()

    async def _through_stages(self, courses: Iterable[Course]) -> None:
        settings = self._transport.settings
        self._uploading, upload = anyio.create_memory_object_stream[Course](0)
        self._collecting, collect = anyio.create_memory_object_stream[Course](
            settings.max_downloads
        )
        async with anyio.create_task_group() as workers:
            with self._uploading, upload, self._collecting, collect:
                for _ in range(settings.max_uploads * _AHEAD):
                    workers.start_soon(self._work, upload.clone(), self._upload)
                for _ in range(settings.max_downloads * _AHEAD):
                    workers.start_soon(self._work, collect.clone(), self._collect)
                await self._take_in(courses)
                if self._under_way:
                    await self._all_ended.wait()

    @staticmethod
    async def _work(
        courses: MemoryObjectReceiveStream[Course], action: Callable[[Course], Awaitable[None]]
    ) -> None:
        with courses:
            async for course in courses:
                await action(course)

    async def _take_in(self, courses: Iterable[Course]) -> None:
        taken = 0
        for course in courses:
            if self._stop.is_set():
                return
            course.decision = decision_without_reading(course, self._wanted)
            if course.decision is not None and course.decision.action == "keep":
                self._keep(course)
                continue
            await self._room.acquire()
            self._under_way += 1
            if self._limits.max_studies is not None and taken >= self._limits.max_studies:
                error = NotSentError(f"left for a later run: this one takes {taken} studies")
                await self._end(course, course.failed(error))
                continue
            taken += 1
            await self._begin(course)

    async def _begin(self, course: Course) -> None:
        course.since = self._transport.clock.monotonic()
        action = course.decision.action if course.decision is not None else None
        if course.decision is not None and course.decision.known is not None:
            course.go_on_with(course.decision.known)
        if action in {"wait", "collect", "changed"}:
            await self._go_on(course, action)
        else:
            await self._uploading.send(course)

    async def _upload(self, course: Course) -> None:
        if self._stop.is_set():
            self._leave()
            return
        self._enter(course, "upload")
        try:
            self._intake.check()
            action = await self._uploads.bring_in(course)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  whatever fails one study stops no other
            self._stop_where_disk_is_full(error)
            await self._end(course, course.failed(error))
            return
        await self._go_on(course, action)

    async def _go_on(self, course: Course, action: Action | None) -> None:
        """What comes after the upload, or in its place."""
        if action == "wait":
            course.time("upload_s", self._transport.clock.monotonic())
            self._enter(course, "wait")
            self._poller.add(course.study_instance_uid, partial(self._predicted, course))
        elif action == "collect":
            await self._collecting.send(course)
        elif action == "keep":
            self._keep(course)
            self._leave()
        else:
            error = NotSentError(
                "its images or upload parameters changed since it was sent: --send-changed sends "
                "it, as a study to be paid for"
            )
            await self._end(course, course.failed(error))

    async def _predicted(self, course: Course, error: Exception | None) -> None:
        course.time("predict_s", self._transport.clock.monotonic())
        if error is not None:
            await self._end(course, course.failed(error))
            return
        if course.number is not None:
            self._ledger.predicted(course.number)
        await self._collecting.send(course)

    async def _collect(self, course: Course) -> None:
        self._enter(course, "collect")
        outcome = await self._collected(course)
        for result in outcome.results.values():
            self._stop_where_disk_is_full(result.error)
        await self._end(course, course.collected(outcome))

    def _stop_where_disk_is_full(self, error: Exception | None) -> None:
        """Results of what would be sent from now on could not be kept either."""
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            self._intake.stop(error)

    async def _collected(self, course: Course) -> StudyOutcome:
        """The results; asked for again where an answer was garbage, since asking costs nothing."""
        clock, started = self._transport.clock, self._transport.clock.monotonic()
        results: dict[str, CommandResult] = {}
        missing = self._options.commands
        if course.is_resumed:
            await anyio.to_thread.run_sync(self._sweep, course.study_instance_uid)
        for pause in (*_PAUSES, None):
            options = dataclasses.replace(self._options, commands=missing)
            outcome = await collect_study(self._transport, course.study_instance_uid, options)
            results |= outcome.results
            missing = tuple(name for name in missing if _is_garbled(results[name]))
            if not missing or pause is None:
                break
            await clock.sleep(pause * (0.5 + clock.random() / 2))
        ordered = {name: results[name] for name in self._options.commands}
        return collected_outcome(
            course.study_instance_uid, ordered, seconds=clock.monotonic() - started
        )

    def _sweep(self, study_instance_uid: str) -> None:
        """A run that was killed may have left half a result."""
        if self._options.output is not None:
            folder = self._options.output / study_instance_uid
            for each in (folder, *(folder / command for command in self._options.commands)):
                sweep_partials(each)

    async def _end(self, course: Course, outcome: StudyOutcome) -> None:
        entry = manifest_entry(outcome)
        write = partial(self._manifest.append, entry)
        if course.number is None:
            await self._ledger.end_unsent(entry, self._wanted.parameters, write)
        else:
            results = {command: each.outcome for command, each in outcome.results.items()}
            await self._ledger.end(
                course.number,
                entry,
                is_final=ends_for_good(outcome),
                begun=course.begun,
                accepted=course.accepted,
                collected=self._wanted.collected(results) if results else "",
                after=write,
            )
        self.outcomes[outcome.outcome] += 1
        self._enter(course, "ended")
        self._report(StudyEnded(outcome))
        self._leave()

    def _keep(self, course: Course) -> None:
        known = course.decision.known if course.decision is not None else None
        if known is None or known.entry is None:
            return
        outcome = kept_outcome(known)
        self.outcomes[outcome.outcome] += 1
        self.already_done += outcome.outcome in _GOOD
        self._manifest.keep(known.entry)
        self._report(StudyEnded(outcome, is_kept=True))

    def _leave(self) -> None:
        self._room.release()
        self._under_way -= 1
        if not self._under_way:
            self._all_ended.set()
            self._all_ended = anyio.Event()

    def _enter(self, course: Course, stage: Stage) -> None:
        self._report(StageChanged(course.study_instance_uid, stage, course.found.size))

    def _polled(self) -> None:
        now = self._transport.clock.monotonic()
        if now - self._polled_at >= _SECONDS_BETWEEN_POLLED:
            self._polled_at = now
            self._report(Polled(self._poller.questions, len(self._poller)))


def _is_garbled(result: CommandResult) -> bool:
    return isinstance(result.error, ProtocolError)


def decision_without_reading(course: Course, wanted: Wanted) -> Decision | None:
    """What to do, as far as sizes and times of files tell; None where their bytes must."""
    known: list[Submission] = [each for each in course.known if each.content]
    if not known:
        return Decision("send")
    stamps = stamps_of(course.found)
    same = next((each for each in known if each.stamps == stamps), None)
    return None if same is None else decide(known, same.content, wanted)
