"""Where the images lie that were sent, as a ledger has them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from milvue_async.batch.found import changed_at
from milvue_async.batch.ledger import read_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["known_sources"]

_IMAGES = (
    "SELECT sop_instance_uid, path, size, mtime_ns FROM instance WHERE member = '' AND study ="
    " (SELECT max(id) FROM study WHERE study_instance_uid = ? AND accepted = 1)"
)


@contextmanager
def known_sources(output: Path) -> Iterator[Callable[[str], Mapping[str, Path]]]:
    """A look-up of what was sent of a study, as far as it still lies there unchanged; blocking.

    Args:
        output: A results folder.

    Yields:
        From a StudyInstanceUID to a mapping from SOPInstanceUID to the path of its file.

    Raises:
        ConfigurationError: A run is at work there, or the ledger is damaged.
    """
    with read_ledger(output) as connection:

        def sources(study_instance_uid: str) -> Mapping[str, Path]:
            rows = connection.execute(_IMAGES, (study_instance_uid,)) if connection else ()
            images = (
                (uid, Path(os.fsdecode(path)), (size, mtime)) for uid, path, size, mtime in rows
            )
            return {uid: path for uid, path, stamp in images if _stamp(path) == stamp}

        yield sources


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, changed_at(status)
