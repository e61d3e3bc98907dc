"""The query parameters of each route, checked against the OpenAPI document as FastAPI does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from milvue_async.protocol.models import (
    HTTPValidationError,
    InferenceCommandEnum,
    LanguageEnum,
    OutputFormatEnum,
    OutputSelectionEnum,
    RecapThemeEnum,
    StaticReportEnum,
    StructuredReportEnum,
    ValidationError,
)
from milvue_async.simulator.objects.parameters import ParameterError, parse_timezone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milvue_async.protocol.models import OpenEnum

__all__ = [
    "ENUM_PARAMETERS",
    "InvalidQueryError",
    "RetrieveParameters",
    "parse_language",
    "parse_retrieve",
    "parse_signed_url",
]

_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})
ENUM_PARAMETERS: dict[str, tuple[type[OpenEnum], str]] = {
    "output_format": (OutputFormatEnum, "overlay"),
    "language": (LanguageEnum, "en"),
    "output_selection": (OutputSelectionEnum, "all"),
    "recap_theme": (RecapThemeEnum, "dark"),
    "structured_report_format": (StructuredReportEnum, "none"),
    "static_report_format": (StaticReportEnum, "none"),
}


class InvalidQueryError(ValueError):
    """One or more query parameters have values the API does not know.

    Args:
        problems: What is wrong, one entry a parameter.
    """

    def __init__(self, problems: list[ValidationError]) -> None:
        super().__init__("invalid query")
        self.body = HTTPValidationError(detail=problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveParameters:
    """The query of ``GET /v3/studies/{study_instance_uid}``, defaults filled in."""

    inference_command: str
    signed_url: bool
    output_format: str
    language: str
    output_selection: str
    recap_theme: str
    structured_report_format: str
    static_report_format: str
    timezone: str


def parse_retrieve(query: Mapping[str, str]) -> RetrieveParameters:
    """The checked query of a retrieval.

    Raises:
        InvalidQueryError: ``inference_command`` is missing, or a value is unknown.
    """
    problems: list[ValidationError] = []
    signed_url = _boolean("signed_url", query, problems)
    command = _value("inference_command", InferenceCommandEnum, None, query, problems)
    values = {
        name: _value(name, enum, default, query, problems)
        for name, (enum, default) in ENUM_PARAMETERS.items()
    }
    timezone = query.get("timezone", "")
    try:
        parse_timezone(timezone)
    except ParameterError as error:
        problems.append(_problem(error.parameter, error.problem, "value_error"))
    if problems:
        raise InvalidQueryError(problems)
    return RetrieveParameters(
        inference_command=command,
        signed_url=signed_url,
        timezone=timezone,
        **values,
    )


def parse_signed_url(query: Mapping[str, str]) -> bool:
    """The ``signed_url`` of a submission.

    Raises:
        InvalidQueryError: It is not a boolean.
    """
    problems: list[ValidationError] = []
    signed_url = _boolean("signed_url", query, problems)
    if problems:
        raise InvalidQueryError(problems)
    return signed_url


def parse_language(query: Mapping[str, str]) -> str:
    """The ``language`` of a JSON prediction, ``en`` where there is none.

    Raises:
        InvalidQueryError: It is none of the six.
    """
    problems: list[ValidationError] = []
    language = _value("language", *ENUM_PARAMETERS["language"], query, problems)
    if problems:
        raise InvalidQueryError(problems)
    return language


def _boolean(name: str, query: Mapping[str, str], problems: list[ValidationError]) -> bool:
    value = query.get(name, "false").lower()
    if value not in _TRUE | _FALSE:
        problem = "value could not be parsed to a boolean"
        problems.append(_problem(name, problem, "type_error.bool"))
    return value in _TRUE


def _value(
    name: str,
    enum: type[OpenEnum],
    default: str | None,
    query: Mapping[str, str],
    problems: list[ValidationError],
) -> str:
    value = query.get(name, default)
    if value is None:
        problems.append(_problem(name, "field required", "value_error.missing"))
        return ""
    if not enum(value).is_known:
        permitted = ", ".join(f"'{member.value}'" for member in enum)
        problem = f"value is not a valid enumeration member; permitted: {permitted}"
        problems.append(_problem(name, problem, "type_error.enum"))
    return value


def _problem(name: str, message: str, kind: str) -> ValidationError:
    return ValidationError(loc=["query", name], msg=message, type=kind)
