"""Results on disk are patient data: folders 0700, files 0600, and a name only when whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from itertools import takewhile
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PartialFile", "make_private_folder", "sweep_partials", "write_private_file"]

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_PARTIAL = ".partial"
_NAME_BYTES = 8
_NEW_FILE = (
    os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


def make_private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for its owner alone; blocking.

    A folder that is there keeps its mode: somebody chose it.

    Raises:
        OSError: It cannot be made, or something else has its name.
    """
    missing = takewhile(lambda folder: not folder.exists(), (path, *path.parents))
    for folder in reversed(list(missing)):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=_FOLDER_MODE)
            _sync(folder.parent)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return path


def _sync(folder: Path) -> None:
    """Bring a folder's entries to the disk: a name that a power cut takes away was none.

    Raises:
        OSError: The disk failed.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # one may write in it and not list it
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not do this
            raise
    finally:
        os.close(descriptor)


def sweep_partials(folder: Path) -> None:
    """Remove what a process that was killed left unfinished in a folder; blocking.

    Whoever calls it knows that no other process is at work there.

    Raises:
        OSError: It cannot be removed.
    """
    for path in folder.glob(f".{'[0-9a-f]' * 2 * _NAME_BYTES}{_PARTIAL}"):
        path.unlink(missing_ok=True)


class PartialFile:
    """A file that has no name of its own until it is whole; every method blocks.

    Args:
        folder: Where it will appear. The partial file lies there too, so that naming it is one
            atomic rename within a file system.

    Attributes:
        path: The partial file, and once it is published the whole one.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f".{secrets.token_hex(_NAME_BYTES)}{_PARTIAL}"
        # asyncio cancels a task without waiting for its thread: a descriptor that was closed
        # under a writer could by then be another patient's file.
        self._lock = threading.Lock()
        self._is_partial = True
        self._descriptor: int | None = os.open(self.path, _NEW_FILE, _FILE_MODE)

    def write(self, chunks: list[bytes | memoryview]) -> None:
        """Append.

        Raises:
            OSError: The disk is full, and the like.
        """
        with self._lock:
            if self._descriptor is None:
                raise ValueError("the file is closed")
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(self._descriptor, view) :]

    def finish(self) -> None:
        """Bring what was written to the disk, and close.

        Raises:
            OSError: It could not be written.
        """
        with self._lock:
            if self._descriptor is not None:
                os.fsync(self._descriptor)
                self._close()

    def publish(self, name: str) -> Path:
        """Give the finished file its name, in place of an older one of that name.

        Raises:
            OSError: It cannot be renamed.
        """
        self.finish()
        with self._lock:
            self.path = self.path.replace(self.path.with_name(name))
            self._is_partial = False
        _sync(self.path.parent)
        return self.path

    def withdraw(self) -> None:
        """Take the published file away again; never raises."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def discard(self) -> None:
        """Remove it, where it has no name of its own yet; never raises."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._close()
            if self._is_partial:
                self._is_partial = False
                with contextlib.suppress(OSError):
                    self.path.unlink()

    def __del__(self) -> None:
        # A task that was cancelled while a thread made the file never got to hold it.
        if hasattr(self, "_descriptor"):
            self.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def write_private_file(path: Path, content: bytes) -> Path:
    """Write a whole file, in place of an older one; blocking.

    Raises:
        OSError: It cannot be written; an older one is then untouched.
    """
    with PartialFile(path.parent) as partial:
        partial.write([content])
        return partial.publish(path.name)
