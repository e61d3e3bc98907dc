"""The one place that touches pydicom: which files can be sent, and datasets in and out.

Files are not parsed by pydicom before they are sent but walked (`milvue_async.part10`): pydicom
lets a cut file pass, recurses, decodes what nobody asks for, and warns with values in its words.

Where pydicom does work, its warnings and log records are held back, because they quote values of
patients. Its own switch, ``pydicom.config.settings.reading_validation_mode``, is one for the whole
process and leaves out the warnings on VRs and character sets; ``warnings.catch_warnings`` swaps
the filters of all threads. So one filter stands in each, which only holds in a thread that is in
here. A dataset decodes its values when they are first looked at: what that warns about is the
caller's.

pydicom is imported when it is first needed. It brings numpy along where that is installed, 35 MB
and most of the time that importing this package would take, and sending files needs neither.

Every function blocks: from a coroutine, call it in a worker thread.
"""

from __future__ import annotations

import copy
import functools
import io
import logging
import re
import stat
import sys
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from milvue_async import part10
from milvue_async.elements import DicomError
from milvue_async.part10 import Segment
from milvue_async.protocol.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom import Dataset
    from typing_extensions import TypeIs

__all__ = [
    "Dataset",
    "DicomError",
    "InstanceHeader",
    "ScannedInstance",
    "Segment",
    "dataset_to_bytes",
    "is_dataset",
    "read_dataset",
    "read_header",
    "scan_instance",
    "through_pydicom",
]

_UIDS = {
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SOPInstanceUID": 0x00080018,
    "SOPClassUID": 0x00080016,
    "MediaStorageSOPClassUID": 0x00020002,
    "TransferSyntaxUID": 0x00020010,
}
_MODALITY = 0x00080060
_WANTED = frozenset({*_UIDS.values(), _MODALITY})
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 section 6.2

# PS3.5 annex A.
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"

# A dataset is held in memory as a whole, and a million elements take pydicom 20 s.
_MAX_DATASET_INFLATED = 1 << 28
_MAX_DATASET_ELEMENTS = 1_000_000


class _Sequences:
    """The tags that are sequences by the data dictionary (PS3.6), which implicit VR asks for."""

    def __contains__(self, tag: object) -> bool:
        return tag in _sequence_tags()

    def __iter__(self) -> Iterator[int]:
        return iter(_sequence_tags())

    def __len__(self) -> int:
        return len(_sequence_tags())


@functools.cache
def _sequence_tags() -> frozenset[int]:
    from pydicom.datadict import (  # type: ignore[attr-defined]  # noqa: PLC0415  # documented, not in __all__
        DicomDictionary,
    )

    return frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


_SEQUENCES = _Sequences()
_TAG = re.compile(r"\([0-9A-Fa-f]{4}, ?[0-9A-Fa-f]{4}\)")


def __getattr__(name: str) -> Any:
    """``Dataset``, which is pydicom's own, when somebody asks for it."""
    if name != "Dataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pydicom  # noqa: PLC0415  when needed; the module says why

    return pydicom.Dataset


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """What sending an instance needs to know of it; its UIDs are valid (PS3.5 section 9.1).

    Attributes:
        study_instance_uid: StudyInstanceUID (0020,000D).
        series_instance_uid: SeriesInstanceUID (0020,000E); empty where there is none.
        sop_instance_uid: SOPInstanceUID (0008,0018), the dataset's own, which may differ from
            the MediaStorageSOPInstanceUID of the file meta information.
        sop_class_uid: SOPClassUID (0008,0016), else MediaStorageSOPClassUID (0002,0002), else
            empty.
        modality: Modality (0008,0060); empty where there is none, or no code string.
        transfer_syntax_uid: TransferSyntaxUID (0002,0010).
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class ScannedInstance:
    """An instance that can be sent.

    Attributes:
        header: Its UIDs and what kind of object it is.
        size: Bytes of the whole file.
        pixel_less: The same file with its top-level pixel data emptied: runs of the file and
            literal bytes, in order.
    """

    header: InstanceHeader
    size: int
    pixel_less: tuple[Segment | bytes, ...]


def scan_instance(source: Path | bytes) -> ScannedInstance:
    """Check that a file is one whole DICOM instance, and say what is needed to send it.

    Pixels are not read, unless the dataset is deflated; memory does not grow with the file.

    Args:
        source: A file, or its bytes.

    Raises:
        DicomError: It is none: no PS3.10 file, a DICOMDIR, not whole, or without valid UIDs.
        OSError: It cannot be read.
    """
    with _open(source) as file:
        structure = part10.walk(file, _WANTED, _SEQUENCES)
        header = _header(structure.values)
        return ScannedInstance(header, structure.size, part10.without_pixels(file, structure))


def read_header(source: Path | bytes) -> InstanceHeader:
    """The header of a file that is one whole DICOM instance; the checks of `scan_instance`.

    Raises:
        DicomError: It is none.
        OSError: It cannot be read.
    """
    with _open(source) as file:
        return _header(part10.walk(file, _WANTED, _SEQUENCES).values)


def is_dataset(value: object) -> TypeIs[Dataset]:
    """Whether a value is a pydicom Dataset: none is, where nobody has imported pydicom yet."""
    # Another thread may be in the midst of importing it.
    kind = getattr(sys.modules.get("pydicom.dataset"), "Dataset", None)
    return kind is not None and isinstance(value, kind)


def read_dataset(source: Path | bytes) -> Dataset:
    """Read a whole DICOM file, its pixels included.

    Its structure is checked as by `scan_instance`, its UIDs are not: a result may be any object.

    Raises:
        DicomError: It is no PS3.10 file, a DICOMDIR, or not whole; its dataset inflates to more
            than 256 MiB or has more than a million elements; or pydicom cannot read it.
        OSError: It cannot be read.
    """
    import pydicom  # noqa: PLC0415  when needed; the module says why

    with _open(source) as file:
        part10.walk(
            file,
            (),
            _SEQUENCES,
            max_inflated=_MAX_DATASET_INFLATED,
            max_elements=_MAX_DATASET_ELEMENTS,
        )
        file.seek(0)
        with through_pydicom("read this file"):
            dataset = pydicom.dcmread(file if isinstance(source, bytes) else source)
        if not len(dataset):  # it loses its way in some file meta information, and says nothing
            msg = "pydicom finds no elements in this file"
            raise DicomError(msg)
        dataset.buffer = None  # or the encoded bytes stay in memory beside the dataset
        return dataset


def dataset_to_bytes(dataset: Dataset, *, in_place: bool = False) -> bytes:
    """Encode a dataset as a PS3.10 file with preamble and file meta information.

    What the file meta lacks is made up for: the media storage UIDs are the dataset's own, the
    transfer syntax is that of the encoding it was read in, else explicit VR little endian.

    Args:
        dataset: Any dataset with a SOPClassUID and a SOPInstanceUID. It is not changed.
        in_place: It may be changed: of one that nobody else holds no copy is made, which is a
            third of the time.

    Raises:
        DicomError: It has neither, or pydicom cannot write it.
    """
    import pydicom  # noqa: PLC0415  when needed; the module says why

    with through_pydicom("write this dataset"):
        # Writing resolves ambiguous VRs in place. What it was read from is not copied with it.
        buffer = getattr(dataset, "buffer", None)
        duplicate = dataset if in_place else copy.deepcopy(dataset, {id(buffer): None})
        for name in ("SOPClassUID", "SOPInstanceUID"):
            if not duplicate.get(name):
                msg = f"the dataset has no {name} {_number(_UIDS[name])}"
                raise DicomError(msg)
        _settle_encoding(duplicate)
        duplicate.ensure_file_meta()
        if not duplicate.file_meta.get("TransferSyntaxUID"):
            duplicate.file_meta.TransferSyntaxUID = pydicom.uid.UID(_transfer_syntax(duplicate))
        file = io.BytesIO()
        pydicom.dcmwrite(file, duplicate, enforce_file_format=True)
        return file.getvalue()


def _open(source: Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not stat.S_ISREG(source.stat().st_mode):  # a pipe would block at open()
        msg = "not a regular file"
        raise DicomError(msg)
    return source.open("rb", buffering=0)  # the walk has a window of its own


def _header(values: dict[int, bytes]) -> InstanceHeader:
    modality = values.get(_MODALITY, b"").decode("latin-1").strip()
    return InstanceHeader(
        study_instance_uid=_required(values, "StudyInstanceUID"),
        series_instance_uid=_uid(values, "SeriesInstanceUID"),
        sop_instance_uid=_required(values, "SOPInstanceUID"),
        sop_class_uid=_uid(values, "SOPClassUID") or _uid(values, "MediaStorageSOPClassUID"),
        modality=modality if _CODE_STRING.fullmatch(modality) else "",
        transfer_syntax_uid=_required(values, "TransferSyntaxUID"),
    )


def _required(values: dict[int, bytes], name: str) -> str:
    uid = _uid(values, name)
    if not uid:
        msg = f"no {name} {_number(_UIDS[name])}"
        raise DicomError(msg)
    return uid


def _uid(values: dict[int, bytes], name: str) -> str:
    """The UID, or an empty string; its value is not shown, since it may be anything."""
    uid = values.get(_UIDS[name], b"").decode("latin-1")
    if uid and not is_uid(uid):
        msg = f"{name} {_number(_UIDS[name])} is not a DICOM UID (1 to 64 digits and dots)"
        raise DicomError(msg)
    return uid


def _number(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _settle_encoding(dataset: Dataset) -> None:
    """Note the encoding a dataset was read in, where its transfer syntax promised another.

    pydicom believes the promise when it writes, and fails on the implicit VR elements it read.
    """
    from pydicom.dataelem import RawDataElement  # noqa: PLC0415  as the module says

    raw = next((element for element in dataset.elements() if element.is_raw), None)
    if isinstance(raw, RawDataElement):
        characters = dataset.original_character_set
        dataset.set_original_encoding(raw.is_implicit_VR, raw.is_little_endian, characters)


def _transfer_syntax(dataset: Dataset) -> str:
    implicit, little = dataset.original_encoding
    if implicit:
        return _IMPLICIT_LITTLE
    return _EXPLICIT_BIG if little is False else _EXPLICIT_LITTLE


class _Held(threading.local):
    """Stands in the filters of warnings and of pydicom's logger; true to the calling thread."""

    active = False

    def match(self, _module: str) -> bool:
        """The part of a compiled pattern that a warnings filter uses."""
        return self.active

    def filter(self, _record: logging.LogRecord) -> bool:
        """The part of a logging filter."""
        return not self.active


_held = _Held()
_WARNINGS_FILTER = ("ignore", None, Warning, _held, 0)
logging.getLogger("pydicom").addFilter(_held.filter)


@contextmanager
def through_pydicom(purpose: str) -> Iterator[None]:
    """Hold back what pydicom says in this thread; all it raises becomes a `DicomError`."""
    filters = cast("list[Any]", warnings.filters)
    if not any(entry is _WARNINGS_FILTER for entry in filters[:1]):
        filters.insert(0, _WARNINGS_FILTER)
    _held.active = True
    try:
        yield
    except DicomError:
        raise
    except Exception as error:  # noqa: BLE001 - it raises what its callees do, on any input
        tag = _TAG.search(str(error))
        where = f" at {tag.group()}" if tag else ""
        msg = f"pydicom cannot {purpose}: {type(error).__name__}{where}"
        raise DicomError(msg) from None
    finally:
        _held.active = False
