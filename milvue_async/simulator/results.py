"""Results of finished studies, made once by workers and kept on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import anyio
from anyio import CapacityLimiter, to_process, to_thread

from milvue_async.dicom import dataset_to_bytes
from milvue_async.protocol.models import SmarturgencesV3, SmartxpertV3
from milvue_async.simulator.images import describe, read
from milvue_async.simulator.objects.parameters import ResultParameters
from milvue_async.simulator.predictions import smarturgences, smartxpert

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from milvue_async.simulator.bodies import Bodies, Instance
    from milvue_async.simulator.parameters import RetrieveParameters

__all__ = ["Results"]

_THREADS = 2


class Results:
    """Makes results on first request.

    What is kept is found again by the instances' hashes and the parameters, so that a study sent
    again with the same bytes gets the same results, and with other bytes others.

    Args:
        bodies: Where received instances are and results go.
        processes: How many worker processes make them; 0 for threads of this process.
    """

    def __init__(self, bodies: Bodies, processes: int) -> None:
        self._bodies = bodies
        self._run_sync = to_process.run_sync if processes else to_thread.run_sync
        self._limiter = CapacityLimiter(processes or _THREADS)
        self._made: dict[str, tuple[str, ...]] = {}
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def files(
        self, instances: tuple[Instance, ...], parameters: RetrieveParameters
    ) -> list[Path]:
        """The DICOM results of a study that has instances, as files in their order."""
        parameters = replace(parameters, signed_url=False)  # the same files by either way
        key = _key(instances, parameters)
        if key not in self._made:
            uid, language = instances[0].study_instance_uid, parameters.language
            answer = await self._answer(uid, instances, parameters.inference_command, language)
            await self._make(key, partial(_write_results, instances, parameters, answer))
        folder = self._bodies.results / key
        return [folder / name for name in self._made[key]]

    async def answer(
        self,
        study_instance_uid: str,
        instances: tuple[Instance, ...],
        command: str,
        language: str,
    ) -> bytes:
        """The JSON prediction of a study; that of one without results if it has no instances."""
        file = await self._answer(study_instance_uid, instances, command, language)
        return await to_thread.run_sync(file.read_bytes)

    async def _answer(
        self,
        study_instance_uid: str,
        instances: tuple[Instance, ...],
        command: str,
        language: str,
    ) -> Path:
        """The file of a JSON prediction. Those of both commands are made from one look."""
        key = _key(instances, study_instance_uid, language)
        await self._make(key, partial(_write_answers, study_instance_uid, instances, language))
        return self._bodies.results / key / f"{command}.json"

    async def _make(self, key: str, write: Callable[[Path], None]) -> None:
        if key in self._made:
            return
        lock = self._locks.setdefault(key, anyio.Lock(fast_acquire=True))
        async with lock:
            if key not in self._made:
                folder = self._bodies.results / key
                names = await self._run_sync(_write_whole, folder, write, limiter=self._limiter)
                self._made[key] = names


def _write_whole(folder: Path, write: Callable[[Path], None]) -> tuple[str, ...]:
    """Write a folder beside its place, then rename it. One that is there already stays.

    Returns:
        The names of its files, in their order.
    """
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        write(partial)
        partial.rename(folder)
    return tuple(sorted(path.name for path in folder.iterdir()))


def _write_results(
    instances: tuple[Instance, ...], parameters: RetrieveParameters, answer: Path, folder: Path
) -> None:
    """Write the results, numbered; one instance and one result are in memory at a time."""
    # highdicom takes a second to import: here it is a worker's, and none where nobody asks.
    from milvue_async.simulator.objects.making import make_results  # noqa: PLC0415

    command = parameters.inference_command
    model = SmartxpertV3 if command == "smartxpert" else SmarturgencesV3
    results = make_results(
        (read(instance) for instance in instances),
        command,
        model.model_validate_json(answer.read_bytes()),
        ResultParameters(
            output_format=parameters.output_format,
            language=parameters.language,
            timezone=parameters.timezone,
            output_selection=parameters.output_selection,
            recap_theme=parameters.recap_theme,
            structured_report_format=parameters.structured_report_format,
            static_report_format=parameters.static_report_format,
        ),
    )
    for number, result in enumerate(results, start=1):
        _write(folder / f"{number:05}.dcm", dataset_to_bytes(result, in_place=True))


def _write_answers(
    study_instance_uid: str, instances: tuple[Instance, ...], language: str, folder: Path
) -> None:
    images = [describe(instance) for instance in instances]
    answers = {
        "smarturgences": smarturgences(study_instance_uid, images, language),
        "smartxpert": smartxpert(study_instance_uid, images),
    }
    for command, answer in answers.items():
        content = answer.model_dump_json(exclude_none=True).encode()
        _write(folder / f"{command}.json", content)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _key(instances: tuple[Instance, ...], *parameters: object) -> str:
    sent = [(instance.sop_instance_uid, instance.sha256) for instance in instances]
    return hashlib.sha256(repr((sent, parameters)).encode()).hexdigest()
