"""What outlives a simulator: its studies, one file each, and what its signed URLs rest on.

A file is written beside its place and renamed, so that a simulator which is killed leaves the
last state that it told anyone of. The instances themselves are in files anyway.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio import to_thread
from pydantic_core import to_json

from milvue_async.simulator.bodies import Instance
from milvue_async.simulator.slots import Place
from milvue_async.simulator.state import Study, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from milvue_async.simulator.state import State

__all__ = ["Journal", "Keepsake"]

_STUDIES = "studies"
_KEEPSAKE = "simulator.json"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Keepsake:
    """What else goes on with the next simulator.

    Attributes:
        secret: What signed URLs are signed with.
        ahead: How far the clock was put forward, in seconds.
    """

    secret: bytes
    ahead: float


class Journal:
    """The folder in which a state is kept.

    Every method but `save` blocks.

    Args:
        root: The simulator's folder.
        state: What is kept.
    """

    def __init__(self, root: Path, state: State) -> None:
        self._root = root
        self._state = state
        self._lock = anyio.Lock()

    def load(self) -> tuple[list[Study], Keepsake | None]:
        """What was kept; studies in the order in which they first came.

        Raises:
            OSError: A file cannot be read, or is not one of this version of the simulator.
        """
        folder = self._root / _STUDIES
        folder.mkdir(mode=0o700, exist_ok=True)
        paths = sorted(folder.glob("*.json"))
        studies = [_read(path, lambda saved: _study(saved, self._root)) for path in paths]
        studies.sort(key=lambda study: study.history[0].accepted_at)
        kept = self._root / _KEEPSAKE
        return studies, _read(kept, _keepsake) if kept.exists() else None

    async def save(self) -> None:
        """Write what has changed; afterwards it would outlive the end of this process.

        Raises:
            OSError: It cannot be written; it is tried again the next time.
        """
        async with self._lock:
            changed = self._state.take_changed()
            records = [(study.study_instance_uid, to_json(study)) for study in changed]
            try:
                if records:
                    await to_thread.run_sync(self._write_studies, records)
            except BaseException:
                self._state.mark_changed(changed)
                raise

    async def clear(self) -> None:
        """Forget every study."""
        async with self._lock:
            await to_thread.run_sync(self._remove_studies)

    async def keep(self, keepsake: Keepsake) -> None:
        """Keep what goes on with the next simulator."""
        record = to_json({"secret": keepsake.secret.hex(), "ahead": keepsake.ahead})
        await to_thread.run_sync(_write, self._root / _KEEPSAKE, record)

    def _write_studies(self, records: Iterable[tuple[str, bytes]]) -> None:
        for study_instance_uid, record in records:
            _write(self._root / _STUDIES / f"{study_instance_uid}.json", record)

    def _remove_studies(self) -> None:
        for path in (self._root / _STUDIES).iterdir():
            path.unlink()


def _write(path: Path, record: bytes) -> None:
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(record)
    partial.replace(path)


def _read(path: Path, convert: Callable[[Any], _T]) -> _T:
    try:
        return convert(json.loads(path.read_bytes()))
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise OSError(errno.EINVAL, "this simulator did not write that file", str(path))


def _keepsake(saved: dict[str, Any]) -> Keepsake:
    return Keepsake(bytes.fromhex(saved["secret"]), saved["ahead"])


def _study(saved: dict[str, Any], root: Path) -> Study:
    converted = {
        "instances": {uid: _instance(each, root) for uid, each in saved["instances"].items()},
        "received": Counter(saved["received"]),
        "missing": set(saved["missing"]),
        "history": [_submission(each) for each in saved["history"]],
        "delivered": _counters(saved["delivered"]),
        "listed": {command: _counters(lists) for command, lists in saved["listed"].items()},
        "json_deliveries": Counter(saved["json_deliveries"]),
    }
    return Study(**(saved | converted))


def _instance(saved: dict[str, Any], root: Path) -> Instance:
    return Instance(**(saved | {"path": root / "instances" / saved["sha256"]}))


def _submission(saved: dict[str, Any]) -> Submission:
    place = saved["place"]
    return Submission(**(saved | {"place": place and Place(**place)}))


def _counters(saved: dict[str, dict[str, int]]) -> dict[str, Counter[str]]:
    return {name: Counter(counts) for name, counts in saved.items()}
