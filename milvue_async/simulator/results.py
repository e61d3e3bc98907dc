"""Results of finished studies, made once in worker threads and kept on disk."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import anyio
from anyio import CapacityLimiter, to_thread

from milvue_async.simulator.captures import write_captures
from milvue_async.simulator.images import load
from milvue_async.simulator.predictions import smarturgences, smartxpert

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from milvue_async.simulator.bodies import Bodies, Instance
    from milvue_async.simulator.parameters import RetrieveParameters

__all__ = ["Results"]

_WORKERS = 2
_ANSWER = "answer.json"


class Results:
    """Makes results on first request.

    What is kept is found again by the instances' hashes and the parameters, so that a study sent
    again with the same bytes gets the same results, and with other bytes others.

    Args:
        bodies: Where received instances are and results go.
    """

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._limiter = CapacityLimiter(_WORKERS)
        self._made: set[str] = set()
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def captures(
        self, instances: tuple[Instance, ...], parameters: RetrieveParameters
    ) -> list[Path]:
        """The DICOM results of a study, as files in the order of its instances."""
        parameters = replace(parameters, signed_url=False)  # the same files by either way

        def write(folder: Path) -> None:
            write_captures(folder, instances, parameters)

        folder = await self._make(_key(instances, parameters), write)
        return await to_thread.run_sync(lambda: sorted(folder.iterdir()))

    async def answer(
        self,
        study_instance_uid: str,
        instances: tuple[Instance, ...],
        command: str,
        language: str,
    ) -> bytes:
        """The JSON prediction of a study; that of one without results if it has no instances."""

        def write(folder: Path) -> None:
            answer = _answer(study_instance_uid, instances, command, language)
            (folder / _ANSWER).touch(mode=0o600)
            (folder / _ANSWER).write_bytes(answer)

        key = _key(instances, study_instance_uid, command, language)
        folder = await self._make(key, write)
        return await to_thread.run_sync((folder / _ANSWER).read_bytes)

    async def _make(self, key: str, write: Callable[[Path], None]) -> Path:
        folder = self._bodies.results / key
        lock = self._locks.setdefault(key, anyio.Lock())
        async with lock:
            if key not in self._made:
                await to_thread.run_sync(_write_whole, folder, write, limiter=self._limiter)
                self._made.add(key)
        return folder


def _write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside its place, then rename it. One that is there already stays."""
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    write(partial)
    partial.rename(folder)


def _answer(
    study_instance_uid: str, instances: tuple[Instance, ...], command: str, language: str
) -> bytes:
    images = [load(instance).image for instance in instances]
    if command == "smartxpert":
        return smartxpert(study_instance_uid, images).model_dump_json(exclude_none=True).encode()
    answer = smarturgences(study_instance_uid, images, language)
    return answer.model_dump_json(exclude_none=True).encode()


def _key(instances: tuple[Instance, ...], *parameters: object) -> str:
    sent = [(instance.sop_instance_uid, instance.sha256) for instance in instances]
    return hashlib.sha256(repr((sent, parameters)).encode()).hexdigest()
