"""A directory all the way: discover, upload, wait, collect, and the manifest of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import anyio.to_thread

from milvue_async.batch.discovery import Discovery, discover
from milvue_async.batch.outputs import Manifest

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from milvue_async.client import MilvueClient, PredictParameters
    from milvue_async.outcomes import StudyOutcome
    from milvue_async.predicting import StageChanged
    from milvue_async.routes import Transfer

__all__ = ["RunSummary", "process_directory"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run over a directory came to.

    Attributes:
        discovery: What the directory holds.
        outcomes: Studies of this run by outcome.
        already_done: Studies that an earlier run into the same folder had finished.
    """

    discovery: Discovery
    outcomes: Counter[str] = field(default_factory=Counter)
    already_done: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every study is done, the earlier ones included."""
        return set(self.outcomes) <= {"done", "empty"}


async def process_directory(
    client: MilvueClient,
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    on_discovery: Callable[[Discovery, int], None] | None = None,
    on_event: Callable[[StageChanged], None] | None = None,
    on_outcome: Callable[[StudyOutcome], None] | None = None,
    commands: Iterable[str] = ("smarturgences", "smartxpert"),
    transfer: Transfer = "dicomweb",
    timeout: float = 180.0,
    **parameters: Unpack[PredictParameters],
) -> RunSummary:
    """Predict every study below a folder, and write results, manifest and summary.

    A study that the manifest says is done is not sent again. Where there is a manifest, an
    earlier run may have been killed after a study was sent: so the status of the others is asked
    for first, and only what the server does not know is sent.

    Args:
        client: Open.
        folder: Where the DICOM files are.
        output: For results, as ``<output>/<StudyInstanceUID>/…``.
        on_discovery: Told what was found, and how many studies of it are done already.
        on_event: Told when a study goes on to its next stage.
        on_outcome: Told when a study has ended.
        commands: As for `MilvueClient.process`.
        transfer: As for `MilvueClient.process`.
        timeout: As for `MilvueClient.process`.
        **parameters: As for `MilvueClient.process`.

    Raises:
        ConfigurationError: The folder is none, or an option cannot work.
        OSError: ``output`` cannot be written.
    """
    folder, output = Path(folder), Path(output)
    commands = (commands,) if isinstance(commands, str) else tuple(commands)
    found = await discover(folder, excluded=[output])
    with await anyio.to_thread.run_sync(Manifest, output) as manifest:
        done = {uid for uid, entry in manifest.entries.items() if _is_done(entry, commands)}
        studies = [study for study in found.studies if study.study_instance_uid not in done]
        summary = RunSummary(found, already_done=len(found.studies) - len(studies))
        if on_discovery is not None:
            on_discovery(found, summary.already_done)
        stream = client.process(
            studies,
            commands=commands,
            transfer=transfer,
            timeout=timeout,
            output=output,
            ask_first=manifest.is_resumed,
            on_event=on_event,
            **parameters,
        )
        async with stream:
            async for outcome in stream:
                summary.outcomes[outcome.outcome] += 1
                await anyio.to_thread.run_sync(manifest.append, outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
        await anyio.to_thread.run_sync(manifest.write_summary, found.set_aside)
    return summary


def _is_done(entry: dict[str, Any], commands: Iterable[str]) -> bool:
    is_complete = all(command in entry["results"] for command in commands)
    return entry["outcome"] in {"done", "empty"} and is_complete
