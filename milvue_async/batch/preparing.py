"""A study on disk made ready to be sent: taken out of archives, checked, hashed."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milvue_async.batch.archives import extract
from milvue_async.batch.found import changed_at
from milvue_async.batch.submissions import SentInstance, content_hash
from milvue_async.errors import InvalidStudyError
from milvue_async.sources import Instance, Study, load_instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from milvue_async.batch.found import FoundFile, FoundStudy

__all__ = ["Prepared", "prepare", "spool"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study that can be sent.

    Attributes:
        study: Checked.
        instances: What the ledger notes of it.
        content: The hash of all of them.
        folder: Where instances lie that were in archives; None where there are none.
    """

    study: Study
    instances: tuple[SentInstance, ...]
    content: str
    folder: Path | None

    def discard(self) -> None:
        """Remove what was taken out of archives; blocking, never raises."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def spool(output: Path) -> Iterator[Path]:
    """A private folder for what is taken out of archives; gone in the end; blocking.

    Raises:
        OSError: It cannot be made.
    """
    folder = output / ".spool"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepare(found: FoundStudy, spool_folder: Path) -> Prepared:
    """Check and hash the files of a study; blocking.

    What was read for the hash is in the page cache when it is sent.

    Args:
        found: The study, as the directory was read.
        spool_folder: Where instances go that are in archives.

    Raises:
        InvalidStudyError: A file is gone, changed since it was found, or cannot be sent; names it.
        OSError: ``spool_folder`` cannot be written.
    """
    folder = None
    if any(file.member for file in found.files):
        folder = Path(tempfile.mkdtemp(dir=spool_folder))
    try:
        pairs = [_prepare_file(file, folder) for file in found.files]
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    study = Study(found.study_instance_uid, tuple(instance for instance, _ in pairs))
    sent = tuple(noted for _, noted in pairs)
    return Prepared(study, sent, content_hash(sent), folder)


def _prepare_file(file: FoundFile, folder: Path | None) -> tuple[Instance, SentInstance]:
    path = extract(file, folder) if file.member and folder is not None else Path(file.path)
    if not file.member:
        _check_unchanged(file, path)
    instance = load_instance(path)
    if instance.header.sop_instance_uid != file.sop_instance_uid:
        raise _changed(file)
    return instance, SentInstance(
        sop_instance_uid=file.sop_instance_uid,
        path=file.path,
        member=file.member,
        size=file.size,
        mtime_ns=file.mtime_ns,
        sha256=_sha256(path, file),
    )


def _check_unchanged(file: FoundFile, path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        reason = error.strerror
    else:
        if (status.st_size, changed_at(status)) != (file.file_size, file.mtime_ns):
            raise _changed(file)
        return
    raise InvalidStudyError(f"{file.name}: cannot be read ({reason})", source=file.name)


def _sha256(path: Path, file: FoundFile) -> str:
    try:
        with path.open("rb", buffering=0) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror
    raise InvalidStudyError(f"{file.name}: cannot be read ({reason})", source=file.name)


def _changed(file: FoundFile) -> InvalidStudyError:
    return InvalidStudyError(
        f"{file.name} changed since the directory was read: run again", source=file.name
    )
