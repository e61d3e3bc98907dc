"""The routes of the API over one transport: each asks, waits where that is due, and checks."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar

import anyio.to_thread
from pydantic import TypeAdapter

from milvue_async.downloads import DatasetStore, FolderStore, Retrieved, retrieve
from milvue_async.errors import (
    ConfigurationError,
    PredictionError,
    PredictionFailedError,
    PredictionForbiddenError,
    PredictionTimeoutError,
)
from milvue_async.files import make_private_folder, write_private_file
from milvue_async.protocol.backoff import PollSchedule
from milvue_async.protocol.models import (
    GetSmarturgencesResponseV3,
    GetSmartxpertResponseV3,
    InferenceStatusEnum,
    ResponseV3,
    SmarturgencesV3,
    SmartxpertV3,
    StudyStatus,
    StudyStatusEnum,
)
from milvue_async.protocol.replies import parse_of_study
from milvue_async.protocol.requests import (
    RETRIEVE_ROUTE,
    Request,
    interesting_request,
    smarturgences_request,
    smartxpert_request,
    status_request,
)
from milvue_async.protocol.uids import validate_uid
from milvue_async.uploads import post_dicomweb, post_signed_url
from milvue_async.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from milvue_async.dicom import Dataset
    from milvue_async.downloads import Store
    from milvue_async.protocol.models import PostDicomWebResponseV3
    from milvue_async.sources import Study
    from milvue_async.transport import Transport

__all__ = [
    "JSON_COMMANDS",
    "RetrieveParameters",
    "StoreParameters",
    "Transfer",
    "check_command",
    "check_seconds",
    "check_transfer",
]

Transfer = Literal["dicomweb", "signed_url"]


class StoreParameters(TypedDict, total=False):
    """Query parameters of ``POST /v3/studies``; None leaves one out."""

    organization_id: str | None
    site_id: str | None
    analysis_id: str | None


class RetrieveParameters(TypedDict, total=False):
    """Query parameters of ``GET /v3/studies/{study_instance_uid}``; None leaves one out."""

    output_format: str | None
    language: str | None
    timezone: str | None
    output_selection: str | None
    recap_theme: str | None
    structured_report_format: str | None
    static_report_format: str | None


_TRANSFERS = ("dicomweb", "signed_url")
_LEAST_INTERVAL = 0.001
_COMMAND = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_STATUS = TypeAdapter(StudyStatus)
_SMARTURGENCES: TypeAdapter[SmarturgencesV3 | ResponseV3] = TypeAdapter(GetSmarturgencesResponseV3)
_SMARTXPERT: TypeAdapter[SmartxpertV3 | ResponseV3] = TypeAdapter(GetSmartxpertResponseV3)

T = TypeVar("T")
PredictionT = TypeVar("PredictionT", SmarturgencesV3, SmartxpertV3)


def check_transfer(transfer: str) -> bool:
    """Whether a transfer goes by signed URLs.

    Raises:
        ConfigurationError: It is neither ``dicomweb`` nor ``signed_url``.
    """
    if transfer not in _TRANSFERS:
        raise ConfigurationError(f"transfer is {transfer!r}: give one of {', '.join(_TRANSFERS)}")
    return transfer == "signed_url"


def check_command(command: str) -> str:
    """A command as a plain str that can name a folder; the API knows more than two.

    Raises:
        ConfigurationError: It cannot be one.
    """
    name = str(command)
    if not _COMMAND.fullmatch(name):
        raise ConfigurationError(
            f"{name[:80]!r} is no inference command: give one such as smarturgences"
        )
    return name


def check_seconds(name: str, seconds: float, *, least: float = 0.0) -> None:
    """Refuse a time that would make a client ask without a pause, or for ever by mistake.

    Raises:
        ConfigurationError: It is below ``least``, or no number.
    """
    if math.isnan(seconds) or seconds < least:
        raise ConfigurationError(f"{name} is {seconds:g} s: give {least:g} or more")


def check_retrieve_parameters(parameters: Mapping[str, object]) -> None:
    """Refuse, before anything is sent, what would only fail once the study is paid for.

    Raises:
        ConfigurationError: A parameter that the route does not have.
    """
    unknown = sorted(set(parameters) - set(RetrieveParameters.__annotations__))
    if unknown:
        raise ConfigurationError(f"unknown parameter {', '.join(unknown)}")


async def post_study(
    transport: Transport,
    study: Study,
    *,
    transfer: str,
    parameters: Mapping[str, object],
    on_try: Callable[[], None] | None = None,
) -> PostDicomWebResponseV3:
    """Send a checked study, either way."""
    post = post_signed_url if check_transfer(transfer) else post_dicomweb
    return await post(transport, study, parameters, on_try)


async def get_status(transport: Transport, study_instance_uid: str) -> StudyStatus:
    """One question for a status."""
    request = status_request(study_instance_uid)
    return parse_of_study(_STATUS, await transport.fetch(request), request)


async def ask_status(transport: Transport, study_instance_uid: str) -> StudyStatus:
    """One question for a status, tried once: whoever asks for many decides when to ask again."""
    request = status_request(study_instance_uid)
    limit = transport.settings.max_json_bytes
    reply = await transport.once(request, lambda incoming: incoming.read(limit))
    return parse_of_study(_STATUS, reply, request)


async def wait_done(
    transport: Transport, study_instance_uid: str, *, timeout: float, interval: float | None = None
) -> StudyStatus:
    """Ask for the status until the study has ended."""
    uid = validate_uid(study_instance_uid, "StudyInstanceUID")
    route = status_request(uid).route

    async def ask() -> StudyStatus:
        return await get_status(transport, uid)

    status = await poll(
        ask,
        # A status that is not known yet is no end either.
        lambda answer: answer.status not in {StudyStatusEnum.DONE, StudyStatusEnum.ERROR},
        schedule=_schedule(transport, timeout, interval),
        clock=transport.clock,
    )
    if status is None:
        raise PredictionTimeoutError(
            f"no prediction within {timeout:g} s; the study may still end: ask again later",
            route=route,
            study_instance_uid=uid,
        )
    if status.status == StudyStatusEnum.ERROR:
        raise PredictionFailedError(
            "the prediction failed on the server", route=route, study_instance_uid=uid
        )
    return status


async def get_smarturgences(
    transport: Transport, study_instance_uid: str, *, language: str | None, timeout: float
) -> SmarturgencesV3:
    """The JSON result of smarturgences."""
    request = smarturgences_request(study_instance_uid, language=language)
    return await _get_prediction(transport, request, _SMARTURGENCES, SmarturgencesV3, timeout)


async def get_smartxpert(
    transport: Transport, study_instance_uid: str, *, timeout: float
) -> SmartxpertV3:
    """The JSON result of smartxpert."""
    request = smartxpert_request(study_instance_uid)
    return await _get_prediction(transport, request, _SMARTXPERT, SmartxpertV3, timeout)


async def get_results(
    transport: Transport,
    study_instance_uid: str,
    command: str,
    *,
    transfer: str,
    timeout: float,
    parameters: Mapping[str, object],
) -> list[Dataset]:
    """The DICOM results of a command, as Datasets."""
    return await _results(
        transport,
        study_instance_uid,
        command,
        DatasetStore(),
        transfer=transfer,
        timeout=timeout,
        parameters=parameters,
    )


async def download_results(
    transport: Transport,
    study_instance_uid: str,
    command: str,
    folder: str | PathLike[str],
    *,
    transfer: str,
    timeout: float,
    parameters: Mapping[str, object],
) -> list[Path]:
    """The DICOM results of a command, as files."""
    return await _results(
        transport,
        study_instance_uid,
        command,
        FolderStore(Path(folder)),
        transfer=transfer,
        timeout=timeout,
        parameters=parameters,
    )


async def save_prediction(
    prediction: SmarturgencesV3 | SmartxpertV3, command: str, folder: Path
) -> Path:
    """Write a JSON result as ``<command>.json`` into a folder, made where it is missing."""
    name = f"{check_command(command)}.json"

    def save() -> Path:
        content = (prediction.to_json() + "\n").encode()
        return write_private_file(make_private_folder(folder) / name, content)

    return await anyio.to_thread.run_sync(save)


async def post_interesting(transport: Transport, study_instance_uid: str) -> None:
    """Flag a study. What the answer holds is not documented, so it is not read."""
    await transport.fetch(interesting_request(study_instance_uid))


JSON_COMMANDS = frozenset({"smarturgences", "smartxpert"})


async def _get_prediction(
    transport: Transport,
    request: Request,
    adapter: TypeAdapter[PredictionT | ResponseV3],
    model: type[PredictionT],
    timeout: float,
) -> PredictionT:
    async def ask() -> PredictionT | ResponseV3:
        return parse_of_study(adapter, await transport.fetch(request), request)

    def is_pending(answer: PredictionT | ResponseV3) -> bool:
        return isinstance(answer, ResponseV3) and _is_pending(answer.status)

    answer = await poll(
        ask, is_pending, schedule=_schedule(transport, timeout), clock=transport.clock
    )
    if isinstance(answer, model):
        return answer
    error = _no_result(answer.status if isinstance(answer, ResponseV3) else None, timeout)
    raise error.concerning(route=request.route, study_instance_uid=request.study_instance_uid)


async def _results(
    transport: Transport,
    study_instance_uid: str,
    command: str,
    store: Store[T],
    *,
    transfer: str,
    timeout: float,
    parameters: Mapping[str, object],
) -> list[T]:
    is_signed = check_transfer(transfer)
    command = check_command(command)
    uid = validate_uid(study_instance_uid, "StudyInstanceUID")

    async def ask() -> Retrieved[T]:
        return await retrieve(
            transport,
            uid,
            command,
            store,
            is_signed=is_signed,
            parameters=parameters,
        )

    answer = await poll(
        ask,
        lambda retrieved: _is_pending(retrieved.status),
        schedule=_schedule(transport, timeout),
        clock=transport.clock,
        # The answer is the images themselves: they may take as long as their bytes flow.
        last_answer_seconds=math.inf,
    )
    status = None if answer is None else answer.status
    if answer is not None and status in {InferenceStatusEnum.DONE, InferenceStatusEnum.EMPTY}:
        return answer.results
    error = _no_result(status, timeout)
    raise error.concerning(route=RETRIEVE_ROUTE, study_instance_uid=uid)


def _is_pending(status: InferenceStatusEnum) -> bool:
    """Whether more may come; so also where the status is one that is not known yet."""
    return status not in {
        InferenceStatusEnum.DONE,
        InferenceStatusEnum.EMPTY,
        InferenceStatusEnum.FORBIDDEN,
    }


def _no_result(status: InferenceStatusEnum | None, timeout: float) -> PredictionError:
    if status == InferenceStatusEnum.FORBIDDEN:
        return PredictionForbiddenError("the account has no licence for this command")
    if status == InferenceStatusEnum.EMPTY:
        return PredictionError("the server has no such result of this study: it says empty")
    return PredictionTimeoutError(f"the result was not ready within {timeout:g} s; ask again later")


def _schedule(transport: Transport, timeout: float, interval: float | None = None) -> PollSchedule:
    settings = transport.settings
    first = settings.poll_interval if interval is None else interval
    check_seconds("timeout", timeout)
    check_seconds("interval", first, least=_LEAST_INTERVAL)
    return PollSchedule(interval=first, cap=max(first, settings.poll_cap), timeout=timeout)
