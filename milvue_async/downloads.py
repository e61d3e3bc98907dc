"""Results on their way in: streamed to a folder or read as Datasets, by WADO or signed URLs.

Nothing has its name before all of it is there: an answer that breaks off leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread
from pydantic import TypeAdapter

from milvue_async import dicom
from milvue_async.concurrency import for_each
from milvue_async.errors import APIError, ProtocolError
from milvue_async.files import PartialFile, make_private_folder
from milvue_async.protocol.models import GetStudyResponseV3, InferenceStatusEnum
from milvue_async.protocol.replies import check_study, parse_of_study
from milvue_async.protocol.requests import (
    EXPIRED_STATUSES,
    retrieve_request,
    signed_get_request,
)
from milvue_async.protocol.results import (
    ResultBegin,
    ResultData,
    ResultDecoder,
    ResultEnd,
    ResultStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from milvue_async.dicom import Dataset
    from milvue_async.protocol.requests import Request
    from milvue_async.transport import IncomingReply, Transport

__all__ = ["DatasetStore", "FolderStore", "Retrieved", "Store", "retrieve"]

_WRITE_BYTES = 1 << 20
_TRIES_OF_SIGNED_URLS = 3
_SIGNED = TypeAdapter(GetStudyResponseV3)
_NO_RESULTS = frozenset({InferenceStatusEnum.RUNNING, InferenceStatusEnum.FORBIDDEN})

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Held(Protocol[T_co]):
    """A result that is whole and has no name yet."""

    @property
    def header(self) -> dicom.InstanceHeader:
        """Its UIDs, validated."""

    def publish(self) -> T_co:
        """Give it its name; blocking."""

    def withdraw(self) -> None:
        """Take it away again; blocking, never raises."""

    def discard(self) -> None:
        """Remove it; blocking, never raises."""


class Incoming(Protocol[T_co]):
    """A result on its way in."""

    async def write(self, data: bytes | memoryview) -> None:
        """Take some bytes of it."""

    async def finish(self) -> Held[T_co]:
        """Check that it is a whole DICOM object.

        Raises:
            ProtocolError: It is none.
        """

    def discard(self) -> None:
        """Remove it; blocking, never raises."""


class Store(Protocol[T_co]):
    """Where results go."""

    async def begin(self) -> Incoming[T_co]:
        """A new result."""


@dataclass(frozen=True, slots=True)
class Retrieved(Generic[T]):
    """What one command gave.

    Attributes:
        status: ``done``, ``running``, ``empty``, ``forbidden``, or what the server said.
        results: Datasets or paths; empty unless the status is ``done``.
    """

    status: InferenceStatusEnum
    results: list[T]


@dataclass(frozen=True, slots=True)
class _DatasetHeld:
    dataset: Dataset
    header: dicom.InstanceHeader

    def publish(self) -> Dataset:
        return self.dataset

    def withdraw(self) -> None:
        """Nothing was made."""

    def discard(self) -> None:
        """Memory frees itself."""


class _DatasetIncoming:
    def __init__(self) -> None:
        self._content = bytearray()

    async def write(self, data: bytes | memoryview) -> None:
        self._content += data

    async def finish(self) -> _DatasetHeld:
        return await _checked(_read_dataset, bytes(self._content))

    def discard(self) -> None:
        """Memory frees itself."""


class DatasetStore:
    """Results as pydicom Datasets in memory."""

    async def begin(self) -> _DatasetIncoming:
        """A new result."""
        return _DatasetIncoming()


@dataclass(frozen=True, slots=True)
class _FileHeld:
    partial: PartialFile
    header: dicom.InstanceHeader

    def publish(self) -> Path:
        return self.partial.publish(f"{self.header.sop_instance_uid}.dcm")

    def withdraw(self) -> None:
        self.partial.withdraw()

    def discard(self) -> None:
        self.partial.discard()


class _FileIncoming:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._partial: PartialFile | None = None
        self._chunks: list[bytes | memoryview] = []
        self._buffered = 0

    async def write(self, data: bytes | memoryview) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered >= _WRITE_BYTES:
            await anyio.to_thread.run_sync(self._write, self._taken())

    async def finish(self) -> _FileHeld:
        return await _checked(self._finish, self._taken())

    def discard(self) -> None:
        if self._partial is not None:
            self._partial.discard()

    def _taken(self) -> list[bytes | memoryview]:
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        return chunks

    def _write(self, chunks: list[bytes | memoryview]) -> PartialFile:
        if self._partial is None:
            self._partial = PartialFile(make_private_folder(self._folder))
        self._partial.write(chunks)
        return self._partial

    def _finish(self, chunks: list[bytes | memoryview]) -> _FileHeld:
        # A small one is checked while it is still in memory.
        header = dicom.read_header(b"".join(chunks)) if self._partial is None else None
        partial = self._write(chunks)
        partial.finish()
        return _FileHeld(partial, header or dicom.read_header(partial.path))


class FolderStore:
    """Results as ``<SOPInstanceUID>.dcm`` in a folder of 0700, files of 0600.

    Args:
        folder: Made when the first result comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def begin(self) -> _FileIncoming:
        """A new result."""
        return _FileIncoming(self._folder)


def _read_dataset(content: bytes) -> _DatasetHeld:
    header = dicom.read_header(content)
    return _DatasetHeld(dicom.read_dataset(content), header)


async def _checked(read: Callable[[T], T_co], source: T) -> T_co:
    """Run a reader in a worker thread; what is not whole DICOM is the server's fault."""
    try:
        return await anyio.to_thread.run_sync(read, source)
    except dicom.DicomError as error:
        reason = str(error)
    raise ProtocolError(f"a result is not a whole DICOM object: {reason}", retryable=True)


async def retrieve(
    transport: Transport,
    study_instance_uid: str,
    inference_command: str,
    store: Store[T],
    *,
    is_signed: bool,
    parameters: Mapping[str, object],
) -> Retrieved[T]:
    """Get the DICOM results of one command, all of them or none.

    Args:
        transport: The connection.
        study_instance_uid: The study.
        inference_command: The command.
        store: Where the results go.
        is_signed: By signed URLs, else by WADO.
        parameters: As for `requests.retrieve_request`.

    Raises:
        MilvueError: The API refused, the network failed, or a result is damaged.
    """
    request = retrieve_request(
        study_instance_uid,
        inference_command,
        accept=transport.settings.retrieve_accept,
        signed_url=is_signed,
        parameters=parameters,
    )
    if is_signed:
        status, held = await _retrieve_signed(transport, request, store)
    else:
        status, held = await _receive_all(transport, request, store)
    return Retrieved(status, await _publish(held, request))


async def _receive_all(
    transport: Transport, request: Request, store: Store[T]
) -> tuple[InferenceStatusEnum, list[Held[T]]]:
    limit = transport.settings.max_result_bytes

    async def consume(reply: IncomingReply) -> tuple[InferenceStatusEnum, list[Held[T]]]:
        return await _Reception(store, limit, request).run(reply)

    return await transport.send(request, consume, slots=transport.download_slots)


class _Reception(Generic[T]):
    """One answer being received; whatever goes wrong, nothing of it stays."""

    def __init__(self, store: Store[T], max_result_bytes: int, request: Request) -> None:
        self._store = store
        self._limit = max_result_bytes
        self._request = request
        self._current: Incoming[T] | None = None
        self._held: list[Held[T]] = []
        self._status: InferenceStatusEnum | None = None

    async def run(self, reply: IncomingReply) -> tuple[InferenceStatusEnum, list[Held[T]]]:
        is_whole = False
        try:
            await self._receive(reply)
            is_whole = True
        finally:
            if not is_whole:
                await _discard([*self._held, *([self._current] if self._current else [])])
        if self._status in _NO_RESULTS and self._held:
            # What came along is not all of it, or not for us.
            await _discard(self._held)
            self._held = []
        if self._held:
            return InferenceStatusEnum.DONE, self._held
        return self._status or InferenceStatusEnum.EMPTY, []

    async def _receive(self, reply: IncomingReply) -> None:
        decoder = ResultDecoder(
            reply.headers, max_result_bytes=self._limit, is_signed=self._request.is_signed
        )
        async for chunk in reply.chunks(self._limit):
            for event in decoder.feed(chunk):
                await self._handle(event)
        for event in decoder.close():
            await self._handle(event)

    async def _handle(self, event: ResultBegin | ResultData | ResultEnd | ResultStatus) -> None:
        if isinstance(event, ResultStatus):
            check_study(event.status.StudyInstanceUID, self._request)
            self._status = event.status.status
        elif isinstance(event, ResultBegin):
            self._current = await self._store.begin()
        elif self._current is not None:
            if isinstance(event, ResultData):
                await self._current.write(event.data)
            else:
                held = await self._current.finish()
                if held.header.study_instance_uid != self._request.study_instance_uid:
                    raise ProtocolError("a result belongs to another study")
                self._held.append(held)
                self._current = None


async def _retrieve_signed(
    transport: Transport, request: Request, store: Store[T]
) -> tuple[InferenceStatusEnum, list[Held[T]]]:
    """By signed URLs; those that were refused, as expired ones are, are asked for again."""
    for remaining in reversed(range(_TRIES_OF_SIGNED_URLS)):
        answer = parse_of_study(_SIGNED, await transport.fetch(request), request)
        if answer.status != InferenceStatusEnum.DONE:
            return answer.status, []
        if not answer.signed_urls:
            return InferenceStatusEnum.EMPTY, []
        try:
            held = await _get_all(transport, request, answer.signed_urls, store)
        except APIError as error:
            if not (remaining and error.status in EXPIRED_STATUSES):
                raise
        else:
            return InferenceStatusEnum.DONE, held
    raise AssertionError  # pragma: no cover  # the last try returns or raises


async def _get_all(
    transport: Transport, request: Request, urls: Sequence[str], store: Store[T]
) -> list[Held[T]]:
    """What every URL gives, in their order."""
    api_url, uid = transport.settings.api_url, request.study_instance_uid
    requests = [signed_get_request(url, uid, api_url=api_url) for url in urls]
    held: list[list[Held[T]]] = [[] for _ in requests]
    is_whole = False

    async def get(index: int) -> None:
        _, held[index] = await _receive_all(transport, requests[index], store)
        if not held[index]:
            raise ProtocolError("a signed URL gave no DICOM object").concerning(
                route=requests[index].route, study_instance_uid=uid
            )

    try:
        await for_each(get, range(len(requests)))
        is_whole = True
    finally:
        if not is_whole:
            await _discard([result for some in held for result in some])
    return [result for some in held for result in some]


async def _publish(held: list[Held[T]], request: Request) -> list[T]:
    is_whole = False
    try:
        if len({result.header.sop_instance_uid for result in held}) < len(held):
            raise ProtocolError("two results have the same SOPInstanceUID").concerning(
                route=request.route, study_instance_uid=request.study_instance_uid
            )
        results = await anyio.to_thread.run_sync(_publish_all, held)
        is_whole = True
    finally:
        if not is_whole:
            await _discard(held)
    return results


def _publish_all(held: list[Held[T]]) -> list[T]:
    """All of them, or none."""
    results: list[T] = []
    try:
        for result in held:
            results.append(result.publish())  # noqa: PERF401  counted below, should one fail
    except OSError:
        for result in held[: len(results)]:
            result.withdraw()
        raise
    return results


async def _discard(results: Sequence[Held[object] | Incoming[object]]) -> None:
    def discard() -> None:
        for result in results:
            result.discard()

    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(discard)
