"""The first stage of a run: what the API has not got yet is sent, each step noted before it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from milvue_async import routes
from milvue_async.batch.outage import Outage
from milvue_async.batch.preparing import prepare
from milvue_async.batch.submissions import Decision, decide
from milvue_async.errors import MilvueError, NotFoundError, ProtocolError
from milvue_async.outcomes import stops_intake
from milvue_async.protocol.models import StudyStatusEnum

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from milvue_async.batch.course import Course
    from milvue_async.batch.events import Reporter
    from milvue_async.batch.ledger import Ledger
    from milvue_async.batch.outage import Turn
    from milvue_async.batch.preparing import Prepared
    from milvue_async.batch.submissions import Action, Wanted
    from milvue_async.predicting import Intake, PredictOptions
    from milvue_async.transport import Transport

__all__ = ["Uploads"]

_PREPARING = 2
_PAUSES = (0.5, 2.0)  # seconds before a status is asked for again


class Uploads:
    """Sends studies.

    Args:
        transport: The connection.
        ledger: Where each step is noted before the next.
        wanted: What the run is asked for.
        options: How to send.
        intake: Whether studies may still be sent.
        patience: As for `Outage`.
        spool: A folder for what is taken out of archives.
        report: Told of outages.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        *,
        wanted: Wanted,
        options: PredictOptions,
        intake: Intake,
        patience: float,
        spool: Path,
        report: Reporter,
    ) -> None:
        self._transport = transport
        self._ledger = ledger
        self._wanted = wanted
        self._options = options
        self._intake = intake
        self._spool = spool
        self._outage = Outage(transport.clock, patience, report)
        self._preparing = anyio.CapacityLimiter(_PREPARING)
        self._sending = 0
        self._idle = anyio.Event()

    async def until_none_is_sending(self) -> None:
        """Wait until no upload is under way."""
        while self._sending:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def bring_in(self, course: Course) -> Action:
        """See that the API has a study, without sending it twice; what is to be done next.

        Raises:
            LedgerError: The ledger cannot be written.
            MilvueError: It could not be sent, or it cannot be told whether it was.
            OSError: An archive's content cannot be written to the disk.
        """
        decision = course.decision
        if decision is not None and decision.action == "ask":
            action = await self._asked(course, decision)
            if action != "send":
                return action
        async with self._prepared(course) as prepared:
            if decision is None:
                decision = decide(course.known, prepared.content, self._wanted)
                course.decision = decision
                if decision.known is not None:
                    course.go_on_with(decision.known)
                if decision.action == "ask":
                    action = await self._asked(course, decision)
                    if action != "send":
                        return action
            if decision.action not in {"send", "ask"}:
                return decision.action
            await self._send(course, prepared, decision)
        return "wait"

    @asynccontextmanager
    async def _prepared(self, course: Course) -> AsyncIterator[Prepared]:
        work = partial(prepare, course.found, self._spool)
        prepared = await anyio.to_thread.run_sync(work, limiter=self._preparing)
        try:
            yield prepared
        finally:
            if prepared.folder is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(prepared.discard)

    async def _asked(self, course: Course, decision: Decision) -> Action:
        """Whether the API has the study: then ``wait`` or ``collect``, else ``send``."""
        uid = course.study_instance_uid
        try:
            status = await self._status(uid)
        except MilvueError as error:
            if stops_intake(error):
                self._intake.stop(error)
            raise
        if status is None:
            return "send"
        if decision.is_ambiguous:
            return self._untangled(course, is_running=status == StudyStatusEnum.RUNNING)
        if status == StudyStatusEnum.ERROR and self._wanted.retry_failed:
            return "send"
        await self._accepted(course, decision)
        if status != StudyStatusEnum.DONE:
            return "wait"
        if course.number is not None:
            self._ledger.predicted(course.number)
        return "collect"

    def _untangled(self, course: Course, *, is_running: bool) -> Action:
        """The API knows the study, perhaps from another submission of the same UID."""
        if not course.begun:
            return "changed"
        if is_running:
            return "wait"
        if self._wanted.send_changed and self._wanted.retry_failed:
            return "send"
        raise MilvueError(
            "it cannot be told whether the changed study arrived, since the API knows its UID from "
            "before: --send-changed --retry-failed sends it again",
            study_instance_uid=course.study_instance_uid,
        )

    async def _send(self, course: Course, prepared: Prepared, decision: Decision) -> None:
        course.number = await self._ledger.begin(
            course.study_instance_uid,
            prepared.content,
            self._wanted.parameters,
            prepared.instances,
            decision.known,
        )
        course.begun = False
        rounds = 0
        while True:
            with await self._outage.admit() as turn:
                self._sending += 1
                try:
                    await self._send_once(course, prepared)
                    break
                except MilvueError as error:
                    rounds += 1
                    course.begun = course.begun or error.in_doubt
                    if not self._is_tried_again(error, rounds, turn):
                        raise
                finally:
                    self._sending -= 1
                    self._idle.set()
        self._outage.succeeded()
        await self._accepted(course, decision)

    async def _send_once(self, course: Course, prepared: Prepared) -> None:
        if course.begun and await self._status(course.study_instance_uid) is not None:
            return
        await routes.post_study(
            self._transport,
            prepared.study,
            transfer=self._options.transfer,
            parameters=self._options.store,
            on_try=partial(self._begin_try, course),
        )

    def _begin_try(self, course: Course) -> None:
        """Before each try's first byte: others may have been refused while this one waited."""
        self._intake.check()
        course.attempts += 1

    def _is_tried_again(self, error: MilvueError, rounds: int, turn: Turn) -> bool:
        is_tried = self._outage.allows_again(error, rounds, turn.successes)
        if stops_intake(error) or self._outage.is_over_patience:
            self._intake.stop(error)
        return is_tried

    async def _status(self, study_instance_uid: str) -> StudyStatusEnum | None:
        """The status, or None where the study is not known; garbage is asked for again."""
        clock = self._transport.clock
        for pause in (*_PAUSES, None):
            try:
                return (await routes.get_status(self._transport, study_instance_uid)).status
            except NotFoundError:
                return None
            except ProtocolError:
                if pause is None:
                    raise
            await clock.sleep(pause * (0.5 + clock.random() / 2))
        raise AssertionError  # pragma: no cover  # the last question returns or raises

    async def _accepted(self, course: Course, decision: Decision) -> None:
        course.begun = course.accepted = True
        number = course.number
        if number is None and decision.known is not None:
            number = course.number = decision.known.number
        if number is not None:
            await self._ledger.submitted(number)
