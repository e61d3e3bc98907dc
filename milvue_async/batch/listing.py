"""The regular files below a folder, with size and time of change; none of them is opened."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from milvue_async.batch.found import SetAside, changed_at
from milvue_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from milvue_async.batch.found import ListedFile

__all__ = ["check_folder", "list_files"]


def list_files(folder: Path, excluded: Iterable[Path]) -> tuple[list[ListedFile], list[SetAside]]:
    """List the regular files below a folder by path, and what else lies there; blocking.

    Links to files are followed, links to folders are not.

    Args:
        folder: Where to look.
        excluded: Folders to leave out, by whatever path they are given.

    Raises:
        ConfigurationError: It is no folder, is excluded itself, or cannot be listed.
    """
    walk = _Walk(check_folder(folder, excluded))
    # What was read is known by its path in later runs, and they may start elsewhere.
    root = str(folder.absolute())
    error = walk.list_folder(root)
    if error is not None:
        raise ConfigurationError(f"{folder} cannot be listed ({error.strerror})")
    walk.list_below()
    walk.files.sort()
    return walk.files, walk.set_aside


def check_folder(folder: Path, excluded: Iterable[Path]) -> set[tuple[int, int] | None]:
    """Refuse what cannot be listed, before anything is made; what tells the excluded folders.

    Raises:
        ConfigurationError: It is no folder, or is excluded itself.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder")
    # Paths without links or dots: a folder that is missing yet is no part of the tree.
    left_out = {_identity(path.resolve()) for path in excluded} - {None}
    if _identity(folder) in left_out:
        raise ConfigurationError(f"{folder} cannot hold its own results: give another folder")
    return left_out


class _Walk:
    def __init__(self, left_out: set[tuple[int, int] | None]) -> None:
        self._left_out = left_out
        self._folders: list[str] = []
        self.files: list[ListedFile] = []
        self.set_aside: list[SetAside] = []

    def list_below(self) -> None:
        """List the folders that were met, and those within them."""
        while self._folders:
            folder = self._folders.pop()
            if self._left_out and _identity(folder) in self._left_out:
                continue
            error = self.list_folder(folder)
            if error is not None:
                reason = f"cannot be listed ({error.strerror})"
                self.set_aside.append(SetAside(folder, reason))

    def list_folder(self, folder: str) -> OSError | None:
        """Take the files of one folder; why not, where it cannot be listed."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._take(entry)
        except OSError as error:
            return error
        return None

    def _take(self, entry: os.DirEntry[str]) -> None:
        try:
            if entry.is_dir(follow_symlinks=False):
                self._folders.append(entry.path)
                return
            status = entry.stat()
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            self.set_aside.append(SetAside(entry.path, reason))
            return
        if stat.S_ISREG(status.st_mode):
            self.files.append((entry.path, status.st_size, changed_at(status)))
        elif not stat.S_ISDIR(status.st_mode):
            self.set_aside.append(SetAside(entry.path, "not a regular file"))


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  a Path for each folder would cost more than the call
    except OSError:
        return None
    return status.st_dev, status.st_ino
