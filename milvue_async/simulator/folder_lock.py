"""A folder that one simulator has for itself.

The system lets go of the lock when the process ends, be it killed: no file has to be removed.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FolderLock"]

_NAME = "lock"
_TAKEN = (BlockingIOError, PermissionError)  # the second one on Windows

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """The lock of a folder, held until `release`. Every method blocks.

    Args:
        folder: It must be there; a file is made in it.

    Raises:
        OSError: Another simulator, of this process or of another one, has the folder; or the file
            cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            if isinstance(error, _TAKEN):
                msg = "another simulator is using this folder"
                raise OSError(errno.EBUSY, msg, str(folder)) from None
            raise

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)
