"""Models of every schema of the Milvue API v3 (OpenAPI document, ``components/schemas``).

Field names are those of the JSON. Enumerations are open: a command, label or status that this
version does not know is kept as it came. Unknown fields are kept too, so that what is written to
disk is what the server said. A model can also be read like the dictionary the vendor's SDK
returns: ``status["status"]``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

__all__ = [
    "BodyPartSchema",
    "BoundingBoxSchema",
    "ErrorResponse",
    "FindingSchema",
    "FlagSchema",
    "GetSmarturgencesResponseV3",
    "GetSmartxpertResponseV3",
    "GetStudyResponseV3",
    "GetStudyStatusResponseV3",
    "HTTPValidationError",
    "InferenceCommandEnum",
    "InferenceStatusEnum",
    "InstanceSchema",
    "InstanceWithUrlSchema",
    "LanguageEnum",
    "MeasureSchema",
    "MeasureTypeEnum",
    "OpenEnum",
    "OutputFormatEnum",
    "OutputSelectionEnum",
    "PathoLabelEnum",
    "PathoStatusEnum",
    "PostDicomWebResponseV3",
    "PostSignedUrlResponseV3",
    "RecapThemeEnum",
    "ReportSchema",
    "ResponseV3",
    "ResultSchema",
    "Schema",
    "SmarturgencesInstanceSchema",
    "SmarturgencesV3",
    "SmartxpertInstanceSchema",
    "SmartxpertV3",
    "StaticReportEnum",
    "StructuredReportEnum",
    "StudySchema",
    "StudyStatus",
    "StudyStatusEnum",
    "TranslationSchema",
    "ValidationError",
]


class OpenEnum(StrEnum):
    """An enumeration that keeps values it does not know, as members that are not listed."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether the OpenAPI document lists this value."""
        return self.value in type(self)._value2member_map_


class InferenceCommandEnum(OpenEnum):
    """The products a study can be asked for. The gateway names more of them than these."""

    SMARTURGENCES = "smarturgences"
    SMARTXPERT = "smartxpert"


class InferenceStatusEnum(OpenEnum):
    """Status of the results of one command."""

    DONE = "done"
    RUNNING = "running"
    EMPTY = "empty"
    FORBIDDEN = "forbidden"


class StudyStatusEnum(OpenEnum):
    """Status of a study."""

    DONE = "done"
    RUNNING = "running"
    ERROR = "error"


class LanguageEnum(OpenEnum):
    """Languages of texts in the results."""

    FR = "fr"
    EN = "en"
    ES = "es"
    DE = "de"
    IT = "it"
    PT = "pt"


class MeasureTypeEnum(OpenEnum):
    """Kinds of measures."""

    ANGLE = "angle"
    LENGTH = "length"


class OutputFormatEnum(OpenEnum):
    """How DICOM results show their findings."""

    OVERLAY = "overlay"
    HIGHBIT = "highbit"
    GSPS = "gsps"


class OutputSelectionEnum(OpenEnum):
    """Which DICOM results are made."""

    ALL = "all"
    NO_RECAP = "no_recap"
    NO_NEGATIVES = "no_negatives"
    NONE = "none"


class PathoLabelEnum(OpenEnum):
    """Interpretation of a prediction."""

    ABNORMAL = "abnormal"
    NORMAL = "normal"
    DOUBT = "doubt"
    UNKNOWN = "unknown"
    OUT_SCOPE = "out_scope"


class PathoStatusEnum(OpenEnum):
    """The older interpretation, deprecated by the API in favour of `PathoLabelEnum`."""

    YES = "yes"
    NO = "no"
    DOUBT = "doubt"
    OUT_SCOPE = "out_scope"
    UNKNOWN = "unknown"


class RecapThemeEnum(OpenEnum):
    """Colours of the recapitulative image."""

    DARK = "dark"
    LIGHT = "light"


class StaticReportEnum(OpenEnum):
    """Forms of the report page."""

    RGB = "rgb"
    PDF = "pdf"
    NONE = "none"


class StructuredReportEnum(OpenEnum):
    """Levels of detail of the DICOM structured report."""

    LITE = "lite"
    NORMAL = "normal"
    FULL = "full"
    NONE = "none"


class Schema(BaseModel):
    """Base of every model: frozen, tolerant of unknown fields, readable like a dictionary."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def __getitem__(self, name: str) -> Any:
        """The field of this JSON name.

        Raises:
            KeyError: The answer has no such field.
        """
        if name in type(self).model_fields:
            return getattr(self, name)
        return (self.model_extra or {})[name]

    def to_json(self) -> str:
        """The JSON as the server sent it: fields it left out stay out, unknown ones stay in."""
        return self.model_dump_json(exclude_unset=True, indent=2)


class TranslationSchema(Schema):
    """A text in the six languages of the API."""

    en: str
    fr: str
    es: str
    de: str
    it: str
    pt: str


class BodyPartSchema(Schema):
    """A body part seen on an image; ``score`` is between 0 and 1."""

    value: str
    translation: TranslationSchema
    score: float


class FindingSchema(Schema):
    """A finding and its interpretation; ``score`` is between 0 and 1."""

    value: str
    translation: TranslationSchema
    label: PathoLabelEnum
    score: float
    type: PathoStatusEnum | None = None


class BoundingBoxSchema(Schema):
    """A finding's place on an image: corners as ``[x, y]`` in pixels, from the top left."""

    value: str
    translation: TranslationSchema
    label: PathoLabelEnum
    score: float
    top_left: list[int]
    bottom_right: list[int]


class FlagSchema(Schema):
    """The overall result of a study."""

    score: float
    label: PathoLabelEnum


class MeasureSchema(Schema):
    """An angle (two lines) or a length (one line); a line is ``[x1, y1, x2, y2]`` in pixels."""

    type: MeasureTypeEnum
    value: str
    translation: TranslationSchema
    measure: float
    unit: str
    lines: list[list[int]]


class ResultSchema(Schema):
    """The lines of a report on one region."""

    region: str
    items: list[str]


class ReportSchema(Schema):
    """A report in words."""

    title: str
    techniques: list[str]
    results: list[ResultSchema]


class StudySchema(Schema):
    """A study by its UID (0020,000D)."""

    StudyInstanceUID: str


class InstanceSchema(Schema):
    """An instance by its UID (0008,0018), with that of its series (0020,000E)."""

    SOPInstanceUID: str
    SeriesInstanceUID: str | None = None


class InstanceWithUrlSchema(InstanceSchema):
    """An instance and the signed URL to put it to, or get it from."""

    signed_url: str


class SmarturgencesInstanceSchema(Schema):
    """What smarturgences found on one image."""

    SOPInstanceUID: str
    SeriesInstanceUID: str
    body_parts: list[BodyPartSchema]
    findings: list[FindingSchema]
    bounding_boxes: list[BoundingBoxSchema]


class SmartxpertInstanceSchema(Schema):
    """What smartxpert measured on one image."""

    SOPInstanceUID: str
    SeriesInstanceUID: str
    body_parts: list[BodyPartSchema]
    measures: list[MeasureSchema]


class PostDicomWebResponseV3(Schema):
    """Answer to ``POST /v3/studies``."""

    StudyInstanceUID: str
    message: str
    retrieve_url: str | None = None


class PostSignedUrlResponseV3(Schema):
    """Answer to ``POST /v3/studies?signed_url=true``: SOPInstanceUID to URL."""

    StudyInstanceUID: str
    signed_urls: dict[str, str]


class GetStudyStatusResponseV3(Schema):
    """Answer to ``GET /v3/studies/{study_instance_uid}/status``."""

    StudyInstanceUID: str
    status: StudyStatusEnum
    version: str
    message: str | None = None


StudyStatus = GetStudyStatusResponseV3


class GetStudyResponseV3(Schema):
    """The JSON answer to ``GET /v3/studies/{study_instance_uid}``."""

    StudyInstanceUID: str
    status: InferenceStatusEnum
    version: str
    message: str | None = None
    signed_urls: list[str] | None = None


class ResponseV3(Schema):
    """The JSON routes' answer where there is no prediction: running, forbidden."""

    StudyInstanceUID: str
    status: InferenceStatusEnum
    version: str
    message: str | None = None


class SmarturgencesV3(Schema):
    """Answer to ``GET /v3/smarturgences/{study_instance_uid}`` of a study that is done."""

    StudyInstanceUID: str
    status: InferenceStatusEnum
    version: str
    message: str | None = None
    flag: FlagSchema
    hl7: str
    findings: list[FindingSchema]
    instances: list[SmarturgencesInstanceSchema]
    signed_url: str | None = None
    report: ReportSchema | None = None


class SmartxpertV3(Schema):
    """Answer to ``GET /v3/smartxpert/{study_instance_uid}`` of a study that is done."""

    StudyInstanceUID: str
    status: InferenceStatusEnum
    version: str
    message: str | None = None
    instances: list[SmartxpertInstanceSchema]


def _by_status(value: Any) -> str:
    """``done`` has results; any other status, known or not, is a plain `ResponseV3`."""
    status = value.get("status") if isinstance(value, dict) else getattr(value, "status", None)
    return "done" if status == "done" else "other"


GetSmarturgencesResponseV3 = Annotated[
    Annotated[SmarturgencesV3, Tag("done")] | Annotated[ResponseV3, Tag("other")],
    Discriminator(_by_status),
]
GetSmartxpertResponseV3 = Annotated[
    Annotated[SmartxpertV3, Tag("done")] | Annotated[ResponseV3, Tag("other")],
    Discriminator(_by_status),
]


class ErrorResponse(Schema):
    """Body of 400, 403, 404 and 429."""

    message: str
    example: str | None = None


class ValidationError(Schema):
    """One wrong value, in the body of a 422."""

    loc: list[str | int]
    msg: str
    type: str


class HTTPValidationError(Schema):
    """Body of 422."""

    detail: list[ValidationError] | None = None
