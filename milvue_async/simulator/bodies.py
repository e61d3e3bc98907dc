"""Received instances on disk: streamed in, checked, and kept under the hash of their bytes.

A file named by its content cannot be half replaced by a second submission of the study, and the
same instance sent twice takes its space once. Folders are 0700 and files 0600: what comes in may
be patient data.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from milvue_async.dicom import DicomError, read_header
from milvue_async.simulator.folder_lock import FolderLock
from milvue_async.simulator.stow import StowError, split

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterator
    from typing import BinaryIO

__all__ = ["Bodies", "BodyTooLargeError", "Instance"]

_BLOCK = 1 << 20
_WORKERS = 2  # bodies that are mapped into memory at a time
_T = TypeVar("_T")


class BodyTooLargeError(Exception):
    """A request body is longer than the simulator was told to take."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A received instance: its UIDs, and its bytes by place, size and SHA-256."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    size: int
    sha256: str


class Bodies:
    """The folder of one simulator.

    Args:
        folder: Where to keep things, or None for a temporary folder that `close` removes.
        max_bytes: Longest request body, in bytes.
    """

    root: Path
    """The folder in use, from `open` on."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._given = folder
        self._max_bytes = max_bytes
        self._lock: FolderLock | None = None
        self._limiter = CapacityLimiter(_WORKERS)

    @property
    def results(self) -> Path:
        """Where results are made."""
        return self.root / "results"

    def open(self) -> None:
        """Make the folders.

        Raises:
            OSError: Another simulator has the folder, or it cannot be made.
        """
        root = self._given or Path(tempfile.mkdtemp(prefix="milvue-simulator-"))
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._given is not None:
            self._lock = FolderLock(root)
        shutil.rmtree(root / "incoming", ignore_errors=True)  # what a killed one left behind
        for name in ("incoming", "instances", "results"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        self.root = root

    def close(self) -> None:
        """Remove the folder; let the next simulator have one that was given."""
        if self._lock is None:
            shutil.rmtree(self.root, ignore_errors=True)
        else:
            self._lock.release()

    async def receive_study(
        self, chunks: AsyncIterable[bytes], boundary: bytes, *, keep: bool
    ) -> list[Instance]:
        """Stream a STOW body to disk, then take it apart.

        Args:
            chunks: The body.
            boundary: Its multipart boundary.
            keep: Whether the instances are kept, or only announced (signed URLs).

        Raises:
            BodyTooLargeError: The body is longer than allowed; nothing of it is kept.
            StowError: It is not one study of whole DICOM files; nothing of it is kept.
        """

        def unpack(body: Path) -> list[Instance]:
            instances = _one_study(_unpack(body, boundary))
            return [self._keep(instance) for instance in instances] if keep else instances

        return await self._receive(chunks, unpack)

    async def receive_instance(
        self, chunks: AsyncIterable[bytes], *, study_instance_uid: str, sop_instance_uid: str
    ) -> Instance:
        """Stream one announced DICOM file to disk and keep it.

        Raises:
            BodyTooLargeError: It is longer than allowed.
            StowError: It is not a whole DICOM file, or not the one announced.
        """

        def check(body: Path) -> Instance:
            instance = _checked(body, "The body", size=body.stat().st_size, sha256=_sha256(body))
            if instance.study_instance_uid != study_instance_uid:
                msg = "The body is of another study than the one announced"
                raise StowError(msg)
            if instance.sop_instance_uid != sop_instance_uid:
                msg = "The body is another instance than the one announced"
                raise StowError(msg)
            return self._keep(instance)

        return await self._receive(chunks, check)

    async def _receive(self, chunks: AsyncIterable[bytes], use: Callable[[Path], _T]) -> _T:
        """Let ``use`` have the body as a file, in a worker thread; its folder goes afterwards."""
        scratch, file = await to_thread.run_sync(_open_scratch, self.root / "incoming")

        def take(rest: bytearray) -> _T:
            with file:
                file.write(rest)
            return use(scratch / "body")

        try:
            rest = await self._write(chunks, file)
            return await to_thread.run_sync(take, rest, limiter=self._limiter)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(_remove_scratch, scratch, file)

    async def _write(self, chunks: AsyncIterable[bytes], file: BinaryIO) -> bytearray:
        """Write all but the last bytes, which are returned, to spare a thread's turn."""
        received = 0
        buffer = bytearray()
        async for chunk in chunks:
            received += len(chunk)
            if received > self._max_bytes:
                raise BodyTooLargeError
            buffer += chunk
            if len(buffer) >= _BLOCK:
                await to_thread.run_sync(file.write, buffer)
                buffer = bytearray()
        return buffer

    def _keep(self, instance: Instance) -> Instance:
        path = self.root / "instances" / instance.sha256
        instance.path.replace(path)
        return replace(instance, path=path)


def _open_scratch(parent: Path) -> tuple[Path, BinaryIO]:
    folder = Path(tempfile.mkdtemp(dir=parent))
    return folder, _create(folder / "body")


def _remove_scratch(folder: Path, file: BinaryIO) -> None:
    file.close()
    shutil.rmtree(folder, ignore_errors=True)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


def _unpack(path: Path, boundary: bytes) -> Iterator[Instance]:
    """Each part of a body as a file of its own beside it, checked."""
    if path.stat().st_size == 0:
        msg = "The body is empty"
        raise StowError(msg)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        for number, part in enumerate(split(body, boundary), start=1):
            target = path.with_name(str(number))
            sha256 = _copy(body, part, target)
            size = part.stop - part.start
            yield _checked(target, f"Part {number}", size=size, sha256=sha256)


def _copy(body: mmap.mmap, part: slice, target: Path) -> str:
    digest = hashlib.sha256()
    with _create(target) as file:
        for start in range(part.start, part.stop, _BLOCK):
            block = body[start : min(start + _BLOCK, part.stop)]
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path: Path, name: str, *, size: int, sha256: str) -> Instance:
    """An instance by its file; ``name`` says in messages which one it is."""
    try:
        header = read_header(path)
    except DicomError as error:
        msg = f"{name} is not a whole DICOM file: {error}"
        raise StowError(msg) from None
    return Instance(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        path=path,
        size=size,
        sha256=sha256,
    )


def _one_study(instances: Iterator[Instance]) -> list[Instance]:
    found = list(instances)
    if len({instance.study_instance_uid for instance in found}) > 1:
        msg = "The instances are of more than one StudyInstanceUID"
        raise StowError(msg)
    return found
