"""What results take over from their source: whom and which study they are about, made valid.

Values are read from the bytes of their elements, decoded with the character set of the source.
What breaks its value representation is repaired where that changes no meaning, and left empty
otherwise, so that an invalid source never makes an invalid result; nothing of a value is ever in
a message. Results are in Unicode, whatever the source is in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pydicom import config, uid
from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName, validate_value

from milvue_async.protocol.uids import is_uid, validate_uid

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UNICODE", "Origin", "Reference", "numbers", "read_origin", "text"]

UNICODE = "ISO_IR 192"

# Patient, General Study and Patient Study (PS3.3 sections C.7.1.1, C.7.2.1, C.7.2.2): those that
# must be there, even if empty, then others.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_OPTIONAL = (
    "IssuerOfPatientID",
    "PatientBirthTime",
    "EthnicGroup",
    "PatientComments",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "Occupation",
    "AdditionalPatientHistory",
)
# A frame of these may not be referred to (PS3.3 section 10.3), though real ones have several.
_SINGLE_FRAME = frozenset(
    {
        uid.ComputedRadiographyImageStorage,
        uid.CTImageStorage,
        uid.DigitalIntraOralXRayImageStorageForPresentation,
        uid.DigitalIntraOralXRayImageStorageForProcessing,
        uid.DigitalMammographyXRayImageStorageForPresentation,
        uid.DigitalMammographyXRayImageStorageForProcessing,
        uid.DigitalXRayImageStorageForPresentation,
        uid.DigitalXRayImageStorageForProcessing,
        uid.MRImageStorage,
        uid.PositronEmissionTomographyImageStorage,
        uid.SecondaryCaptureImageStorage,
        uid.UltrasoundImageStorage,
    }
)
_PADDING = " \0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1000, 9999)  # of four digits, in every time zone
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_MAX_NAME_GROUPS, _MAX_NAME_COMPONENTS = 3, 5  # PS3.5 section 6.2.1


@dataclass(frozen=True, slots=True)
class Reference:
    """Which instance a result is made from.

    Attributes:
        study_instance_uid: Its study.
        series_instance_uid: Its series; empty where the source names none.
        sop_instance_uid: The instance.
        sop_class_uid: Its class; empty where the source names none.
        frame: The number of the frame that is used, 1, if it has several; None otherwise.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    frame: int | None

    @property
    def is_complete(self) -> bool:
        """Whether another object may refer to it."""
        return bool(self.series_instance_uid and self.sop_class_uid)

    @property
    def is_complete_image(self) -> bool:
        """Whether another object may refer to it as an image, which an RT Dose is not."""
        return self.is_complete and self.sop_class_uid != uid.RTDoseStorage

    def instance_item(self) -> Dataset:
        """The instance as an item of a sequence (PS3.3 section 10.8)."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class_uid
        item.ReferencedSOPInstanceUID = self.sop_instance_uid
        return item

    def image_item(self) -> Dataset:
        """The image as an item of a sequence: its frame, too (PS3.3 section 10.3)."""
        item = self.instance_item()
        if self.frame is not None:
            item.ReferencedFrameNumber = self.frame
        return item


@dataclass(frozen=True, slots=True)
class Origin:
    """What of a source goes into its results, its pixels aside.

    Attributes:
        reference: Which instance it is.
        attributes: Attributes of the patient and of the study, valid.
        moment: When the study began, in UTC; the start of 1970 where it does not say.
    """

    reference: Reference
    attributes: Dataset
    moment: datetime


def read_origin(source: Dataset) -> Origin:
    """What results take over from a dataset.

    Raises:
        InvalidUIDError: Its StudyInstanceUID or SOPInstanceUID is missing, or no UID.
    """
    sop_class_uid = _uid_or_empty(source, "SOPClassUID") or _media_storage_class(source)
    frames = next(iter(numbers(source, "NumberOfFrames")), 1)
    reference = Reference(
        study_instance_uid=validate_uid(_uid(source, "StudyInstanceUID"), "StudyInstanceUID"),
        series_instance_uid=_uid_or_empty(source, "SeriesInstanceUID"),
        sop_instance_uid=validate_uid(_uid(source, "SOPInstanceUID"), "SOPInstanceUID"),
        sop_class_uid=sop_class_uid,
        frame=1 if frames > 1 and sop_class_uid not in _SINGLE_FRAME else None,
    )
    return Origin(reference, _attributes(source), _moment(source))


def text(source: Dataset, keyword: str) -> str:
    """The value of an attribute as text, values joined by backslashes; empty where it has none."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in source:
        return ""
    value = source.get_item(tag).value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return _decoded(value, dictionary_VR(tag), _encodings(source))
    if isinstance(value, str | PersonName) or not hasattr(value, "__iter__"):
        return str(value)
    return "\\".join(map(str, value))


def numbers(source: Dataset, keyword: str) -> list[float]:
    """The values of a decimal or integer string; none where one of them is no finite number."""
    try:
        values = [float(value) for value in text(source, keyword).split("\\") if value.strip(" \0")]
    except ValueError:
        return []
    return values if all(abs(value) < float("inf") for value in values) else []


def _attributes(source: Dataset) -> Dataset:
    attributes = Dataset()
    attributes.SpecificCharacterSet = UNICODE
    for keyword in (*_TYPE_2, *_OPTIONAL):
        value = _valid(text(source, keyword), dictionary_VR(keyword), keyword)
        if value or keyword in _TYPE_2:
            setattr(attributes, keyword, value)
    return attributes


def _valid(value: str, vr: str, keyword: str) -> str:
    """The value if it is valid, repaired if it can be, else an empty one."""
    if dictionary_VM(keyword) == "1" and vr not in {"LT", "ST", "UT"}:
        value = value.split("\\", 1)[0]
    repaired = _repaired(value, vr).strip(_PADDING)
    try:
        validate_value(vr, repaired, config.RAISE)
        if vr == "DA" and repaired:
            datetime.strptime(repaired, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return ""
    if keyword == "PatientSex" and repaired not in {"M", "F", "O"}:
        return ""
    return repaired


def _repaired(value: str, vr: str) -> str:
    if vr == "LT":
        return _CONTROL_BUT_LINES.sub("", value)
    value = _CONTROL.sub("", value)
    if vr == "PN":
        groups = value.split("=")[:_MAX_NAME_GROUPS]
        return "=".join("^".join(group.split("^")[:_MAX_NAME_COMPONENTS]) for group in groups)
    if vr == "DA":
        return value.replace(".", "")  # of the ACR-NEMA standard: 1997.01.31
    return value.replace(":", "") if vr == "TM" else value


def _decoded(value: bytes, vr: str, encodings: Sequence[str]) -> str:
    if vr == "PN":
        return str(PersonName(value, encodings, validation_mode=config.IGNORE))
    return decode_bytes(value, encodings, TEXT_VR_DELIMS)


def _encodings(source: Dataset) -> list[str]:
    """Python's names of the character sets of a dataset; what is unknown is the default one."""
    value = source.get("SpecificCharacterSet") or ""
    names = [value] if isinstance(value, str) else value
    return [python_encoding.get(str(name).strip(_PADDING), "iso8859") for name in names]


def _uid(source: Dataset, keyword: str) -> str:
    return text(source, keyword).strip(_PADDING)


def _uid_or_empty(source: Dataset, keyword: str) -> str:
    value = _uid(source, keyword)
    return value if is_uid(value) else ""


def _media_storage_class(source: Dataset) -> str:
    meta = getattr(source, "file_meta", None)
    return "" if meta is None else _uid_or_empty(meta, "MediaStorageSOPClassUID")


def _moment(source: Dataset) -> datetime:
    date = _valid(text(source, "StudyDate"), "DA", "StudyDate")
    if not date:
        return _EPOCH
    time = _valid(text(source, "StudyTime"), "TM", "StudyTime")
    digits = time.partition(".")[0].ljust(6, "0")
    try:
        local = datetime.strptime(date + digits, "%Y%m%d%H%M%S").replace(tzinfo=_offset(source))
    except ValueError:  # a leap second
        return _EPOCH
    return local.astimezone(UTC) if local.year in _YEARS else _EPOCH


def _offset(source: Dataset) -> timezone:
    value = text(source, "TimezoneOffsetFromUTC").strip(_PADDING)
    found = re.fullmatch(r"([+-])(\d\d)(\d\d)", value, re.ASCII)
    if found is None or int(found[2]) > 14:  # noqa: PLR2004  hours, PS3.3 section C.12.1.1.8
        return UTC
    difference = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(-difference if found[1] == "-" else difference)
