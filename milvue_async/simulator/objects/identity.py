"""What makes a dataset a result: its UIDs, its series, what made it and when.

UIDs come from what a result is made of: the same source, command, kind, parameters and
prediction give the same UID, any other give another. Dates and times are those of the study, in
the time zone asked for, so that a result is the same each time it is made. They are the only ones
that are converted: ``StudyDate`` and ``StudyTime`` stay as they came, since every object of a
study must have the same.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from milvue_async.simulator.objects.attributes import UNICODE
from milvue_async.simulator.objects.wording import KINDS, say

if TYPE_CHECKING:
    from milvue_async.simulator.objects.parameters import ResultParameters
    from milvue_async.simulator.objects.subjects import Subject

__all__ = ["EQUIPMENT", "MANUFACTURER", "MODEL", "SERIAL_NUMBER", "VERSION", "Maker", "derived_uid"]

MANUFACTURER = "milvue_async"
MODEL = "Simulator of the Milvue API"
SERIAL_NUMBER = "SIMULATED"
VERSION = "simulated"

EQUIPMENT: dict[str, Any] = {
    "manufacturer": MANUFACTURER,
    "manufacturer_model_name": MODEL,
    "software_versions": VERSION,
    "device_serial_number": SERIAL_NUMBER,
    "specific_character_set": UNICODE,
}
"""What made a result, as arguments of highdicom's constructors."""

_FIRST_SERIES = 9001
_MAX_LONG_STRING = 64  # characters, PS3.5 section 6.2
_DATES_AND_TIMES = (
    ("InstanceCreationDate", "InstanceCreationTime"),
    ("ContentDate", "ContentTime"),
    ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
    ("PresentationCreationDate", "PresentationCreationTime"),
)


def derived_uid(*sources: object) -> str:
    """A UID of its own for these values, the same each time (PS3.5 section B.2)."""
    name = "\n".join(map(repr, sources))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes datasets results of one command.

    Attributes:
        command: The inference command.
        parameters: What was asked for.
    """

    command: str
    parameters: ResultParameters

    def arguments(self, subject: Subject, kind: str, number: int) -> dict[str, Any]:
        """What every constructor of highdicom takes.

        The patient's attributes are not among them, because highdicom has messages that quote
        them; `finish` adds them.

        Args:
            subject: What the result is about.
            kind: One of `KINDS`.
            number: Its number among those of its kind, from 1.
        """
        return {**self.names(subject, kind, number), **EQUIPMENT}

    def names(self, subject: Subject, kind: str, number: int) -> dict[str, Any]:
        """Those of them that no other result has; arguments as of `arguments`."""
        reference = subject.origin.reference
        series = (reference.study_instance_uid, self.command, kind, self.parameters)
        description = f"{self.command} {say(KINDS[kind], self.parameters.language)} (SIMULATED)"
        return {
            "series_instance_uid": derived_uid("series", *series),
            "series_number": _FIRST_SERIES + list(KINDS).index(kind),
            "series_description": description[-_MAX_LONG_STRING:],
            "sop_instance_uid": derived_uid(
                "instance", *series, reference.sop_instance_uid, subject.digest
            ),
            "instance_number": number,
        }

    def finish(self, made: Dataset, subject: Subject) -> Dataset:
        """A result with the patient and the study of its source, and with its dates and times.

        It is a plain dataset: those of highdicom may hold their content twice, which makes them
        slow to copy.
        """
        result = made
        if type(made) is not Dataset:
            result = Dataset()
            result.update(made)
        result.update(subject.origin.attributes)
        result.pop("ContributingEquipmentSequence", None)  # highdicom's, with the time it ran
        result.file_meta = made.file_meta
        moment = subject.origin.moment.astimezone(self.parameters.zone)
        # Offsets of the 19th century have seconds, which DICOM cannot say.
        minutes = round((moment.utcoffset() or timedelta()).total_seconds() / 60)
        moment = moment.astimezone(timezone(timedelta(minutes=minutes)))
        result.TimezoneOffsetFromUTC = moment.strftime("%z")
        for date, time in _DATES_AND_TIMES:
            if date in result:
                setattr(result, date, moment.strftime("%Y%m%d"))
                setattr(result, time, moment.strftime("%H%M%S"))
        return result
