"""The query parameters that DICOM results depend on, checked.

They are those of ``GET /v3/studies/{study_instance_uid}`` (OpenAPI document), save
``inference_command`` and ``signed_url``. The document does not say what a ``timezone`` looks like:
names of the IANA database are taken, and hours from UTC such as ``+2``, as published clients
send them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from milvue_async.protocol.models import (
    LanguageEnum,
    OpenEnum,
    OutputFormatEnum,
    OutputSelectionEnum,
    RecapThemeEnum,
    StaticReportEnum,
    StructuredReportEnum,
)

__all__ = ["ParameterError", "ResultParameters", "parse_timezone"]

# A plus sign that is not escaped in a query arrives as a space.
_OFFSET = re.compile(r"(?:UTC|GMT)?([+\- ]?)(\d{1,2})(?::?(\d{2}))?", re.ASCII)
_EARLIEST, _LATEST = timedelta(hours=-12), timedelta(hours=14)  # PS3.3 section C.12.1.1.8

_ENUMS: dict[str, type[OpenEnum]] = {
    "output_format": OutputFormatEnum,
    "language": LanguageEnum,
    "output_selection": OutputSelectionEnum,
    "recap_theme": RecapThemeEnum,
    "structured_report_format": StructuredReportEnum,
    "static_report_format": StaticReportEnum,
}


class ParameterError(ValueError):
    """A parameter has a value the API does not know.

    Args:
        parameter: Its name in the query.
        problem: What is wrong with its value.
    """

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultParameters:
    """Which results are made of a study, and how they look.

    Attributes:
        output_format: ``overlay``, ``highbit`` or ``gsps``.
        language: ``en``, ``fr``, ``es``, ``de``, ``it`` or ``pt``.
        timezone: An IANA name, or hours from UTC; empty is UTC.
        output_selection: ``all``, ``no_recap``, ``no_negatives`` or ``none``.
        recap_theme: ``dark`` or ``light``.
        structured_report_format: ``lite``, ``normal``, ``full`` or ``none``.
        static_report_format: ``rgb``, ``pdf`` or ``none``.

    Raises:
        ParameterError: A value is none of these.
    """

    output_format: str = "overlay"
    language: str = "en"
    timezone: str = "UTC"
    output_selection: str = "all"
    recap_theme: str = "dark"
    structured_report_format: str = "none"
    static_report_format: str = "none"

    def __post_init__(self) -> None:
        for name, enum in _ENUMS.items():
            if not enum(getattr(self, name)).is_known:
                permitted = ", ".join(member.value for member in enum)
                raise ParameterError(name, f"it is none of {permitted}")
        parse_timezone(self.timezone)

    @property
    def zone(self) -> tzinfo:
        """The time zone that `timezone` names."""
        return parse_timezone(self.timezone)


def parse_timezone(value: str) -> tzinfo:
    """The time zone of an IANA name (``Europe/Paris``) or of hours from UTC (``+2``, ``-3:30``).

    Raises:
        ParameterError: It is neither, or this machine has no such zone.
    """
    if value.upper() in {"", "UTC", "Z"}:
        return UTC
    if offset := _OFFSET.fullmatch(value):
        return _fixed(offset)
    try:
        return ZoneInfo(value)
    except (LookupError, OSError, ValueError):  # what is no name of a file in its folder, too
        raise ParameterError("timezone", "it is no IANA name, nor hours from UTC") from None


def _fixed(offset: re.Match[str]) -> timezone:
    sign, hours, minutes = offset.groups()
    difference = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if sign == "-":
        difference = -difference
    if int(minutes or 0) >= 60 or not _EARLIEST <= difference <= _LATEST:  # noqa: PLR2004  of an hour
        raise ParameterError("timezone", "it is not between -12 and +14 hours from UTC")
    return timezone(difference)
