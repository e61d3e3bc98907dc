"""A directory all the way: discover, upload, wait, collect, and the manifest of it."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import anyio
import anyio.to_thread

from milvue_async.batch.course import Course
from milvue_async.batch.discovery import discover
from milvue_async.batch.events import DiscoveryProgressed, FileSetAside, RunEnded, RunStarted
from milvue_async.batch.filters import Filters
from milvue_async.batch.found import Discovery
from milvue_async.batch.ledger import LEDGER, Ledger
from milvue_async.batch.listing import check_folder
from milvue_async.batch.outputs import MANIFEST, Manifest
from milvue_async.batch.preparing import spool
from milvue_async.batch.run import Run, RunLimits
from milvue_async.batch.scan_cache import ScanCache
from milvue_async.batch.submissions import wanted_of
from milvue_async.client import DEFAULT_COMMANDS, predict_options
from milvue_async.concurrency import first_failure, first_of
from milvue_async.errors import ConfigurationError
from milvue_async.files import make_private_folder, sweep_partials

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterable, Mapping

    from milvue_async.batch.events import Event, Reporter
    from milvue_async.batch.submissions import Submission
    from milvue_async.client import MilvueClient, PredictParameters
    from milvue_async.routes import Transfer

__all__ = ["RunSummary", "process_directory"]

_GOOD = frozenset({"done", "empty"})


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run over a directory came to.

    Attributes:
        discovery: What the directory holds.
        outcomes: Studies by outcome, those of earlier runs that were left at that included.
        already_done: Studies that an earlier run into the same folder had done.
        is_interrupted: Whether it was asked to end before it was through.
    """

    discovery: Discovery
    outcomes: Counter[str] = field(default_factory=Counter)
    already_done: int = 0
    is_interrupted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every study of the directory is done."""
        ended = sum(self.outcomes.values())
        return set(self.outcomes) <= _GOOD and ended == len(self.discovery.studies)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a run works with in its results folder."""

    ledger: Ledger
    manifest: Manifest
    spool: Path
    known: Mapping[str, list[Submission]]


async def process_directory(
    client: MilvueClient,
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    commands: Iterable[str] = DEFAULT_COMMANDS,
    transfer: Transfer = "dicomweb",
    timeout: float = 600.0,
    filters: Filters | None = None,
    retry_failed: bool = False,
    send_changed: bool = False,
    limits: RunLimits | None = None,
    on_event: Reporter | None = None,
    stop: anyio.Event | None = None,
    **parameters: Unpack[PredictParameters],
) -> RunSummary:
    """Predict every study below a folder, and write results, ledger, manifest and summary.

    It goes on where an earlier run into the same ``output`` stopped, however that was: what is
    done stays done, what waits for its prediction is waited for, and of what may have been sent
    the status is asked before anything is sent again.

    Args:
        client: Open.
        folder: Where the DICOM files are, or zip archives of them; any names, any depth.
        output: For results, as ``<output>/<StudyInstanceUID>/…``. One run at a time.
        commands: As for `MilvueClient.process`.
        transfer: As for `MilvueClient.process`.
        timeout: Seconds that a prediction may take while no other of the run ends.
        filters: Which instances are sent; all by default.
        retry_failed: Whether to take up what ended in error or was rejected for good.
        send_changed: Whether to send a study whose images or upload parameters changed since it
            was sent. It may be paid for again.
        limits: How much at once.
        on_event: Told how it goes, on the event loop.
        stop: Set it to end the run: nothing more is begun, uploads under way may end, all else
            is left for the next run.
        **parameters: As for `MilvueClient.process`.

    Raises:
        ConfigurationError: The folder is none, an option cannot work, or another run is at work
            in ``output``.
        OSError: ``output`` cannot be written. Nothing more was sent, and a further run goes on.
    """
    options = predict_options(
        commands, dict(parameters), transfer=transfer, timeout=timeout, output=output
    )
    wanted = wanted_of(options, retry_failed=retry_failed, send_changed=send_changed)
    report = on_event or _nobody
    limits = limits or RunLimits()
    stop = stop or anyio.Event()
    await anyio.to_thread.run_sync(check_folder, Path(folder), [Path(output)])
    async with _opened(Path(output), client.settings.api_url) as opened:
        found = await _discover(Path(folder), opened, filters or Filters(), report, stop)
        if found is None:
            report(RunEnded({}, 0, is_interrupted=True))
            return RunSummary(Discovery(), is_interrupted=True)
        run = Run(
            client.transport,
            opened.ledger,
            manifest=opened.manifest,
            wanted=wanted,
            options=options,
            limits=limits,
            spool=opened.spool,
            report=report,
        )
        courses = [
            Course(study, known=opened.known.get(study.study_instance_uid, ()))
            for study in found.studies
        ]
        report(_started(found))
        try:
            await run.process(courses, stop)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(opened.manifest.write_summary, found.set_aside)
    report(RunEnded(dict(run.outcomes), run.already_done, run.is_interrupted))
    return RunSummary(found, run.outcomes, run.already_done, run.is_interrupted)


async def _discover(
    folder: Path,
    opened: _Opened,
    filters: Filters,
    report: Reporter,
    stop: anyio.Event,
) -> Discovery | None:
    """What the directory holds, or None where the run was asked to end before that is known."""
    found: Discovery | None = None

    async def read() -> None:
        nonlocal found
        found = await discover(
            folder,
            excluded=[opened.ledger.path.parent],
            filters=filters,
            cache=ScanCache(opened.ledger.connection),
            on_progress=lambda files, total: report(DiscoveryProgressed(files, total)),
        )

    try:
        await first_of(read, stop.wait)
    except BaseExceptionGroup as group:
        failure = first_failure(group)
    else:
        return None if found is None else _told(found, report)
    raise failure


def _told(found: Discovery, report: Reporter) -> Discovery:
    for file in found.set_aside:
        report(FileSetAside(file.path, file.reason))
    return found


def _started(found: Discovery) -> RunStarted:
    return RunStarted(
        studies=len(found.studies),
        instances=sum(len(study.files) for study in found.studies),
        bytes=sum(study.size for study in found.studies),
        set_aside=len(found.set_aside),
    )


def _nobody(event: Event) -> None:
    """Take an event where nobody else does."""


@asynccontextmanager
async def _opened(output: Path, endpoint: str) -> AsyncIterator[_Opened]:
    """The results folder, owned by this run; opened and closed in a worker thread."""
    stack = ExitStack()
    try:
        yield await anyio.to_thread.run_sync(_open, stack, output, endpoint)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(stack.close)


def _open(stack: ExitStack, output: Path, endpoint: str) -> _Opened:
    make_private_folder(output)
    if (output / MANIFEST).exists() and not (output / LEDGER).exists():
        raise ConfigurationError(
            f"{output} has a {MANIFEST} but no {LEDGER}: what was sent cannot be told; bring the "
            "ledger back, or give another output folder"
        )
    ledger = stack.enter_context(Ledger(output, endpoint))
    sweep_partials(output)
    folder = stack.enter_context(spool(output))
    manifest = stack.enter_context(Manifest(output, ledger.entries()))
    return _Opened(ledger, manifest, folder, ledger.submissions())
