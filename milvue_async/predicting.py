"""One study all the way: post, wait, collect."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from milvue_async import routes
from milvue_async.concurrency import for_each
from milvue_async.errors import MilvueError, NotFoundError
from milvue_async.outcomes import (
    CommandResult,
    NotSentError,
    Outcome,
    StudyOutcome,
    combined_outcome,
    outcome_of_error,
    stops_intake,
)
from milvue_async.protocol.uids import validate_uid
from milvue_async.sources import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from milvue_async.sources import StudySource
    from milvue_async.transport import Transport

__all__ = ["Intake", "PredictOptions", "Stage", "StageChanged", "collect_study", "predict_study"]

Stage = Literal["upload", "wait", "collect", "ended"]
Wait = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StageChanged:
    """A study went on to its next stage.

    Attributes:
        study_instance_uid: StudyInstanceUID (0020,000D).
        stage: ``upload``, ``wait``, ``collect`` or ``ended``.
        bytes: Bytes of the study's files.
    """

    study_instance_uid: str
    stage: Stage
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How studies are predicted.

    Attributes:
        commands: What to ask for.
        transfer: ``dicomweb`` or ``signed_url``, in both directions.
        timeout: Seconds that one prediction may take.
        output: Folder for results; in memory where None.
        store: Query parameters of the upload.
        retrieve: Query parameters of the results.
        ask_first: Send a study only where the server does not know it.
        on_event: Told when a study changes stage.
    """

    commands: tuple[str, ...] = ("smarturgences", "smartxpert")
    transfer: str = "dicomweb"
    timeout: float = 180.0
    output: Path | None = None
    store: Mapping[str, object] = field(default_factory=dict)
    retrieve: Mapping[str, object] = field(default_factory=dict)
    ask_first: bool = False
    on_event: Callable[[StageChanged], None] | None = None


class Intake:
    """Whether the studies of a run may still be sent.

    Args:
        on_stop: Told, once, why not.
    """

    def __init__(self, on_stop: Callable[[Exception], None] | None = None) -> None:
        self._stopped_by: Exception | None = None
        self._on_stop = on_stop

    def stop(self, reason: Exception) -> None:
        """Let no more studies in; the first reason stands."""
        if self._stopped_by is None:
            self._stopped_by = reason
            if self._on_stop is not None:
                self._on_stop(reason)

    @property
    def is_open(self) -> bool:
        """Whether more studies are let in."""
        return self._stopped_by is None

    def check(self) -> None:
        """Refuse a study where no more are let in.

        Raises:
            NotSentError: It may not be sent any more.
        """
        if self._stopped_by is not None:
            raise NotSentError(f"not sent: the run stopped after: {self._stopped_by}")


class _Run:
    """The course of one study; its fields are those of the outcome."""

    def __init__(
        self,
        transport: Transport,
        source: StudySource,
        options: PredictOptions,
        *,
        intake: Intake | None = None,
        wait: Wait | None = None,
        study_instance_uid: str = "",
    ) -> None:
        self._transport = transport
        self._options = options
        self._source = source
        self._intake = intake or Intake()
        self._wait_done = wait or self._wait_alone
        self._uid = study_instance_uid
        self._size = 0
        self._facts: dict[str, Any] = {}
        self._attempts = 0
        if isinstance(source, Study):
            self._take_facts(source)

    async def run(self) -> StudyOutcome:
        error: Exception | None = None
        try:
            await self._timed("upload_s", self._upload())
            self._enter("wait")
            await self._timed("predict_s", self._wait_done(self._uid))
        except Exception as failure:  # noqa: BLE001  whatever fails one study stops no other
            error = failure
        if error is None:
            return await self.run_collect()
        self._enter("ended")
        return self._outcome(error, {})

    async def run_collect(self) -> StudyOutcome:
        self._enter("collect")
        results = await self._timed("collect_s", self._collect())
        self._enter("ended")
        return self._outcome(None, results)

    def _outcome(self, error: Exception | None, results: dict[str, CommandResult]) -> StudyOutcome:
        if error is None:
            failed = (result.error for result in results.values() if result.error is not None)
            outcome, error = combined_outcome(results.values()), next(failed, None)
        else:
            outcome = outcome_of_error(error)
        return StudyOutcome(
            study_instance_uid=self._uid,
            outcome=outcome,
            attempts=self._attempts,
            error=error,
            results=results,
            study=self._source,
            **self._facts,
        )

    async def _timed(self, name: str, stage: Awaitable[Any]) -> Any:
        started = self._transport.clock.monotonic()
        try:
            return await stage
        finally:
            self._facts[name] = self._transport.clock.monotonic() - started

    def _enter(self, stage: Stage) -> None:
        if self._options.on_event is not None:
            self._options.on_event(StageChanged(self._uid, stage, self._size))

    def _take_facts(self, study: Study) -> None:
        self._uid, self._size = study.study_instance_uid, study.size
        self._facts |= {"instances": len(study.instances), "bytes": study.size}

    async def _upload(self) -> None:
        self._intake.check()
        study = await load_study(self._source)
        self._take_facts(study)
        self._enter("upload")
        try:
            await self._send(study)
        except MilvueError as error:
            if stops_intake(error):
                self._intake.stop(error)
            raise

    async def _send(self, study: Study) -> None:
        if self._options.ask_first and await self._is_known():
            return
        await routes.post_study(
            self._transport,
            study,
            transfer=self._options.transfer,
            parameters=self._options.store,
            on_try=self._begin_try,
        )

    def _begin_try(self) -> None:
        """Before each try's first byte: others may have been refused while this one waited."""
        self._intake.check()
        self._attempts += 1

    async def _is_known(self) -> bool:
        try:
            await routes.get_status(self._transport, self._uid)
        except NotFoundError:
            return False
        return True

    async def _wait_alone(self, _: str) -> None:
        await routes.wait_done(self._transport, self._uid, timeout=self._options.timeout)

    async def _collect(self) -> dict[str, CommandResult]:
        results: dict[str, CommandResult] = {}

        async def collect(command: str) -> None:
            results[command] = await self._collect_command(command)

        await for_each(collect, self._options.commands)
        return {command: results[command] for command in self._options.commands}

    async def _collect_command(self, command: str) -> CommandResult:
        result = CommandResult(command, "empty")
        try:
            result = await self._collect_dicom(command)
            return await self._collect_json(result)
        except Exception as error:  # noqa: BLE001  whatever fails one command stops no other
            outcome = outcome_of_error(error)
            if outcome == "empty":
                return result
            reason = None if outcome == "forbidden" else error
            return dataclasses.replace(result, outcome=outcome, error=reason)

    async def _collect_dicom(self, command: str) -> CommandResult:
        if self._options.output is not None:
            paths = await self._download(command, self._options.output / self._uid / command)
            return CommandResult(command, "done" if paths else "empty", paths=tuple(paths))
        datasets = await routes.get_results(
            self._transport,
            self._uid,
            command,
            transfer=self._options.transfer,
            timeout=self._options.timeout,
            parameters=self._options.retrieve,
        )
        return CommandResult(command, "done" if datasets else "empty", datasets=tuple(datasets))

    async def _download(self, command: str, folder: Path) -> list[Path]:
        return await routes.download_results(
            self._transport,
            self._uid,
            command,
            folder,
            transfer=self._options.transfer,
            timeout=self._options.timeout,
            parameters=self._options.retrieve,
        )

    async def _collect_json(self, result: CommandResult) -> CommandResult:
        if result.command not in routes.JSON_COMMANDS:
            return result
        timeout = self._options.timeout
        if result.command == "smarturgences":
            language = self._options.retrieve.get("language")
            prediction: Any = await routes.get_smarturgences(
                self._transport,
                self._uid,
                language=None if language is None else str(language),
                timeout=timeout,
            )
        else:
            prediction = await routes.get_smartxpert(self._transport, self._uid, timeout=timeout)
        paths = result.paths
        if self._options.output is not None:
            folder = self._options.output / self._uid
            paths += (await routes.save_prediction(prediction, result.command, folder),)
        outcome: Outcome = "done" if prediction.instances else result.outcome
        return dataclasses.replace(result, outcome=outcome, prediction=prediction, paths=paths)


async def predict_study(
    transport: Transport,
    source: StudySource,
    options: PredictOptions,
    intake: Intake | None = None,
    wait: Wait | None = None,
) -> StudyOutcome:
    """Take one study all the way. A failure is in the outcome; only cancellation is raised.

    Args:
        transport: The connection.
        source: The study.
        options: What is wanted.
        intake: Shared by the studies of a run; one that it refuses ends as ``skipped``.
        wait: Waits for the prediction of a StudyInstanceUID; shared by the studies of a run.
    """
    return await _Run(transport, source, options, intake=intake, wait=wait).run()


async def collect_study(
    transport: Transport, study_instance_uid: str, options: PredictOptions
) -> StudyOutcome:
    """Collect the results of a study that was sent before; failures are in the outcome.

    Raises:
        InvalidUIDError: The UID is none.
    """
    uid = validate_uid(study_instance_uid, "StudyInstanceUID")
    run = _Run(transport, (), options, study_instance_uid=uid)
    return await run.run_collect()
