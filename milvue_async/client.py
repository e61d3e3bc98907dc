"""`MilvueClient`: one method a route, `predict` and `process` on top."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from milvue_async import routes
from milvue_async.errors import ConfigurationError
from milvue_async.polling import PollScheduler
from milvue_async.predicting import Intake, PredictOptions, collect_study, predict_study
from milvue_async.routes import RetrieveParameters, StoreParameters, Transfer
from milvue_async.settings import Settings
from milvue_async.sources import Study, is_instance_source, load_study
from milvue_async.streaming import Drivers, OutcomeStream
from milvue_async.transport import Transport

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from milvue_async.dicom import Dataset
    from milvue_async.outcomes import StudyOutcome
    from milvue_async.predicting import StageChanged
    from milvue_async.protocol.models import (
        PostDicomWebResponseV3,
        SmarturgencesV3,
        SmartxpertV3,
        StudyStatus,
    )
    from milvue_async.retrying import Clock
    from milvue_async.sources import StudySource
    from milvue_async.streaming import Studies

__all__ = ["DEFAULT_COMMANDS", "MilvueClient", "PredictParameters", "predict_options"]

DEFAULT_COMMANDS = ("smarturgences", "smartxpert")
_STORE_NAMES = frozenset(StoreParameters.__annotations__)


class PredictParameters(StoreParameters, RetrieveParameters, total=False):
    """Query parameters of the upload and of the results together; None leaves one out."""


class MilvueClient:
    """A connection to the Milvue API v3, to be used as ``async with MilvueClient(...) as client``.

    Every method can be called any number of times at once. What all of them raise: `APIError`
    where the API refuses, `TransportError` where the network goes on failing, `ProtocolError`
    where an answer cannot be understood, `InvalidUIDError` for what is no UID, and
    `ConfigurationError` for a parameter that cannot work.

    Args:
        api_url: Root of the API, such as ``https://predict.milvue.com``.
        token: The API key.
        max_uploads: STOW requests or signed PUTs whose bytes are on the way out at once.
        clock: Time and chance; the machine's own by default.
        ssl_context: For a private certificate authority.
        **limits: The other fields of `Settings`.

    Raises:
        ConfigurationError: A setting is missing or cannot work.
    """

    def __init__(
        self,
        api_url: str,
        token: str,
        max_uploads: int = 8,
        *,
        clock: Clock | None = None,
        ssl_context: ssl.SSLContext | None = None,
        **limits: Any,
    ) -> None:
        settings = _settings(api_url=api_url, token=token, max_uploads=max_uploads, **limits)
        self._transport = Transport(settings, clock=clock, ssl_context=ssl_context)
        self._drivers = Drivers()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """A client of ``MILVUE_API_URL`` and ``MILVUE_API_TOKEN``.

        Args:
            environ: The variables; the process's own by default.
            **options: As for the constructor; they win over the variables.

        Raises:
            ConfigurationError: A variable is missing and no option stands in for it.
        """
        found = Settings.from_env(
            environ, api_url=options.pop("api_url", None), token=options.pop("token", None)
        )
        return cls(found.api_url, found.token.get_secret_value(), **options)

    @property
    def settings(self) -> Settings:
        """What it was made with; the token is masked."""
        return self._transport.settings

    @property
    def transport(self) -> Transport:
        """The connection beneath, for what is built upon a client."""
        return self._transport

    def __repr__(self) -> str:
        return f"MilvueClient({self.settings.api_url!r})"

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._drivers.aclose()
        finally:
            await self._transport.__aexit__(exc_type, exc, traceback)

    async def post_study(
        self,
        instances: StudySource,
        *,
        transfer: Transfer = "dicomweb",
        **parameters: Unpack[StoreParameters],
    ) -> PostDicomWebResponseV3:
        """Send a study: ``POST /v3/studies``.

        Args:
            instances: All of the study's: paths, bytes or Datasets. Files go out as they are.
            transfer: ``dicomweb``, or ``signed_url`` to put the files to object storage.
            **parameters: ``organization_id``, ``site_id``, ``analysis_id``.

        Raises:
            InvalidStudyError: Refused before anything was sent; names the file.
            MilvueError: As the class says. Where ``in_doubt`` is set the study may have arrived:
                ask for its status before sending it again.
        """
        study = await load_study(instances)
        return await routes.post_study(
            self._transport, study, transfer=transfer, parameters=dict(parameters)
        )

    async def get_status(self, study_instance_uid: str) -> StudyStatus:
        """Ask once: ``GET /v3/studies/{study_instance_uid}/status``.

        Raises:
            MilvueError: As the class says; `NotFoundError` for a study that was never sent.
        """
        return await routes.get_status(self._transport, study_instance_uid)

    async def wait_done(
        self, study_instance_uid: str, *, timeout: float = 180.0, interval: float | None = None
    ) -> StudyStatus:
        """Ask, ever more rarely, until the prediction has ended.

        Args:
            study_instance_uid: The study.
            timeout: Seconds.
            interval: Seconds before the second question; ``poll_interval`` by default.

        Raises:
            PredictionFailedError: It ended with status ``error``.
            PredictionTimeoutError: It did not end in time.
            MilvueError: As the class says.
        """
        return await routes.wait_done(
            self._transport, study_instance_uid, timeout=timeout, interval=interval
        )

    async def get_results(
        self,
        study_instance_uid: str,
        inference_command: str,
        *,
        transfer: Transfer = "dicomweb",
        timeout: float = 30.0,
        **parameters: Unpack[RetrieveParameters],
    ) -> list[Dataset]:
        """Fetch DICOM results: ``GET /v3/studies/{study_instance_uid}``.

        Args:
            study_instance_uid: The study.
            inference_command: ``smarturgences``, ``smartxpert``, or another of the account's.
            transfer: ``dicomweb`` (WADO), or ``signed_url`` to get them from object storage.
            timeout: Seconds to go on asking while the server says ``running``.
            **parameters: The fields of `RetrieveParameters`.

        Returns:
            Datasets, each whole; none where the result is empty.

        Raises:
            PredictionForbiddenError: The account has no licence for the command.
            PredictionTimeoutError: It was still running after ``timeout``.
            MilvueError: As the class says.
        """
        return await routes.get_results(
            self._transport,
            study_instance_uid,
            inference_command,
            transfer=transfer,
            timeout=timeout,
            parameters=dict(parameters),
        )

    async def download_results(
        self,
        study_instance_uid: str,
        inference_command: str,
        folder: str | os.PathLike[str],
        *,
        transfer: Transfer = "dicomweb",
        timeout: float = 30.0,
        **parameters: Unpack[RetrieveParameters],
    ) -> list[Path]:
        """Stream DICOM results into a folder, as ``<SOPInstanceUID>.dcm``; all or none.

        Args and errors as `get_results`, and:

        Args:
            study_instance_uid: The study.
            inference_command: The command.
            folder: Made where it is missing, for its owner alone. Files in it of the same name
                are replaced.
            transfer: As for `get_results`.
            timeout: As for `get_results`.
            **parameters: As for `get_results`.

        Raises:
            OSError: The folder cannot be written.
            MilvueError: As for `get_results`.
        """
        return await routes.download_results(
            self._transport,
            study_instance_uid,
            inference_command,
            folder,
            transfer=transfer,
            timeout=timeout,
            parameters=dict(parameters),
        )

    async def get_smarturgences(
        self, study_instance_uid: str, *, language: str | None = None, timeout: float = 30.0
    ) -> SmarturgencesV3:
        """Fetch findings: ``GET /v3/smarturgences/{study_instance_uid}``.

        Args:
            study_instance_uid: The study.
            language: ``fr``, ``en``, ``es``, ``de``, ``it`` or ``pt``.
            timeout: Seconds to go on asking while the server says ``running``.

        Raises:
            PredictionForbiddenError: The account has no licence for smarturgences.
            PredictionTimeoutError: It was still running after ``timeout``.
            MilvueError: As the class says.
        """
        return await routes.get_smarturgences(
            self._transport, study_instance_uid, language=language, timeout=timeout
        )

    async def get_smartxpert(
        self, study_instance_uid: str, *, timeout: float = 30.0
    ) -> SmartxpertV3:
        """Fetch measures: ``GET /v3/smartxpert/{study_instance_uid}``; as `get_smarturgences`."""
        return await routes.get_smartxpert(self._transport, study_instance_uid, timeout=timeout)

    async def post_interesting(self, study_instance_uid: str) -> None:
        """Flag a study that was sent before: ``POST /v3/interesting/{study_instance_uid}``.

        Raises:
            MilvueError: As the class says; `NotFoundError` for a study that was never sent.
        """
        await routes.post_interesting(self._transport, study_instance_uid)

    async def predict(
        self,
        instances: StudySource,
        *,
        commands: Iterable[str] = DEFAULT_COMMANDS,
        transfer: Transfer = "dicomweb",
        timeout: float = 180.0,
        output: str | os.PathLike[str] | None = None,
        **parameters: Unpack[PredictParameters],
    ) -> StudyOutcome:
        """Post a study, wait for its prediction and collect the results.

        Args:
            instances: As for `post_study`.
            commands: Inference commands whose results are wanted.
            transfer: In both directions.
            timeout: Seconds that the prediction may take.
            output: Folder for results, as ``<output>/<StudyInstanceUID>/…``; without it they are
                in the outcome.
            **parameters: Those of `post_study` and of `get_results`.

        Returns:
            An outcome of ``done``, ``empty`` or ``forbidden``; its ``results`` say so for each
            command.

        Raises:
            PredictionError: The prediction failed or did not end in time.
            OSError: ``output`` cannot be written.
            MilvueError: As for `post_study`.
        """
        options = predict_options(
            commands, dict(parameters), transfer=transfer, timeout=timeout, output=output
        )
        outcome = await predict_study(self._transport, instances, options)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def collect(
        self,
        study_instance_uid: str,
        *,
        commands: Iterable[str] = DEFAULT_COMMANDS,
        transfer: Transfer = "dicomweb",
        timeout: float = 30.0,
        output: str | os.PathLike[str] | None = None,
        **parameters: Unpack[RetrieveParameters],
    ) -> StudyOutcome:
        """Collect the results of a study that was sent before; the last part of `predict`.

        Arguments, result and errors as `predict`; ``timeout`` is for each result, while the
        server says ``running``.
        """
        options = predict_options(
            commands, dict(parameters), transfer=transfer, timeout=timeout, output=output
        )
        outcome = await collect_study(self._transport, study_instance_uid, options)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def process(
        self,
        studies: Studies,
        *,
        commands: Iterable[str] = DEFAULT_COMMANDS,
        transfer: Transfer = "dicomweb",
        timeout: float = 180.0,
        output: str | os.PathLike[str] | None = None,
        max_in_flight: int = 1000,
        ask_first: bool = False,
        on_event: Callable[[StageChanged], None] | None = None,
        **parameters: Unpack[PredictParameters],
    ) -> OutcomeStream:
        """Predict many studies side by side: ``async for outcome in client.process(studies)``.

        One study's failure is its outcome and stops nobody. A refused key or quota stops the
        intake: studies of which nothing was sent yet end as ``skipped``, those under way go on.

        Args:
            studies: Each as for `post_study`; an iterable or an async iterable. The next is taken
                when there is room for it, on the event loop: one that blocks should be async.
            commands: As for `predict`.
            transfer: As for `predict`.
            timeout: Seconds that one prediction may take while no other of the stream ends: the
                server may have a queue.
            output: As for `predict`; without it, results stay in memory with each outcome.
            max_in_flight: Studies under way at once; those that wait hold no upload slot.
            ask_first: Ask for a study's status before sending it, and send it only where the
                server does not know it: for a run that resumes one that was killed.
            on_event: Told, on the event loop, when a study goes on to its next stage.
            **parameters: As for `predict`.

        Returns:
            Outcomes as studies end. Leaving the loop early ends the studies still under way.

        Raises:
            ConfigurationError: An option cannot work.
        """
        options = predict_options(
            commands,
            dict(parameters),
            transfer=transfer,
            timeout=timeout,
            output=output,
            ask_first=ask_first,
            on_event=on_event,
        )

        if isinstance(studies, Study) or is_instance_source(studies):
            raise ConfigurationError("studies is one study or file: give an iterable of studies")
        if max_in_flight < 1:
            raise ConfigurationError(f"max_in_flight is {max_in_flight}: give 1 or more")
        intake = Intake()
        poller = PollScheduler(self._transport, timeout=timeout)

        async def predict(study: StudySource) -> StudyOutcome:
            return await predict_study(self._transport, study, options, intake, poller.wait)

        return OutcomeStream(studies, predict, max_in_flight, self._drivers, poller.run)


def _settings(**values: Any) -> Settings:
    try:
        return Settings(**values)
    except TypeError as error:
        reason = str(error)
    raise ConfigurationError(f"a setting is not known: {reason.rpartition(' ')[2]}")


def predict_options(
    commands: Iterable[str],
    parameters: Mapping[str, object],
    *,
    transfer: str,
    timeout: float,
    output: str | os.PathLike[str] | None,
    ask_first: bool = False,
    on_event: Callable[[StageChanged], None] | None = None,
) -> PredictOptions:
    """Checked options, before anything is sent; arguments as for `MilvueClient.process`.

    Raises:
        ConfigurationError: One of them cannot work.
    """
    routes.check_transfer(transfer)
    routes.check_seconds("timeout", timeout)
    named = (commands,) if isinstance(commands, str) else tuple(commands)
    checked = tuple(dict.fromkeys(routes.check_command(command) for command in named))
    if not checked:
        raise ConfigurationError("no inference command: give one such as smarturgences")
    store = {name: value for name, value in parameters.items() if name in _STORE_NAMES}
    retrieve = {name: value for name, value in parameters.items() if name not in _STORE_NAMES}
    routes.check_retrieve_parameters(retrieve)
    return PredictOptions(
        commands=checked,
        transfer=transfer,
        timeout=timeout,
        output=None if output is None else Path(output),
        store=store,
        retrieve=retrieve,
        ask_first=ask_first,
        on_event=on_event,
    )
