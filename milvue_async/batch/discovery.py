"""A directory tree into studies: headers only, off the event loop."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from milvue_async.errors import ConfigurationError, InvalidStudyError
from milvue_async.sources import Instance, Study, load_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Discovery", "SetAside", "discover"]

_FILES_AT_ONCE = 64
_HASHED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that is not sent.

    Attributes:
        path: The file.
        reason: Why not, in one line.
    """

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a directory holds.

    Attributes:
        studies: Ordered by their first file; the files of one may lie anywhere.
        set_aside: Files that are not sent.
    """

    studies: list[Study] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


async def discover(
    folder: Path,
    *,
    excluded: Iterable[Path] = (),
    on_files: Callable[[int], None] | None = None,
) -> Discovery:
    """Read the headers of every file below a folder, whatever the names.

    Args:
        folder: Where to look; symbolic links to folders are not followed. A folder below it that
            cannot be listed is set aside.
        excluded: Folders below it to leave out, such as the one for results.
        on_files: Told how many more files were read.

    Raises:
        ConfigurationError: It is no folder, is excluded itself, or cannot be listed.
    """
    set_aside: list[SetAside] = []
    paths = await anyio.to_thread.run_sync(_files, folder, tuple(excluded), set_aside)
    instances: dict[str, dict[str, Instance]] = {}
    for start in range(0, len(paths), _FILES_AT_ONCE):
        some = paths[start : start + _FILES_AT_ONCE]
        await anyio.to_thread.run_sync(_read, some, instances, set_aside)
        if on_files is not None:
            on_files(len(some))
    studies = [Study(uid, tuple(found.values())) for uid, found in instances.items()]
    return Discovery(studies, set_aside)


def _files(folder: Path, excluded: tuple[Path, ...], set_aside: list[SetAside]) -> list[Path]:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder")
    left_out = {path.resolve() for path in excluded}
    if folder.resolve() in left_out:
        raise ConfigurationError(f"{folder} cannot hold its own results: give another folder")
    return sorted(_walk(folder, left_out, set_aside))


def _walk(folder: Path, left_out: set[Path], set_aside: list[SetAside]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        reason = f"cannot be listed ({error.strerror})"
        if Path(error.filename) == folder:
            raise ConfigurationError(f"{folder} {reason}") from None
        set_aside.append(SetAside(Path(error.filename), reason))

    for parent, folders, names in os.walk(folder, onerror=note):
        here = Path(parent)
        folders[:] = [name for name in folders if (here / name).resolve() not in left_out]
        yield from (here / name for name in names)


def _read(
    paths: list[Path], instances: dict[str, dict[str, Instance]], set_aside: list[SetAside]
) -> None:
    for path in paths:
        reason = _take(path, instances)
        if reason:
            set_aside.append(SetAside(path, reason))


def _take(path: Path, instances: dict[str, dict[str, Instance]]) -> str:
    """Put a file to its study; why not, where it cannot be."""
    try:
        instance = load_instance(path)
        study = instances.setdefault(instance.header.study_instance_uid, {})
        twin = study.setdefault(instance.header.sop_instance_uid, instance)
        if twin is instance:
            return ""
        same = _digest(path) == _digest(Path(twin.name))
    except InvalidStudyError as error:
        return error.message.removeprefix(f"{path}: ")
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    content = "the same content" if same else "other content"
    return f"repeats the SOPInstanceUID of {twin.name}, with {content}"


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
    return digest.digest()
