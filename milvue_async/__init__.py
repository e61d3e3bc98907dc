"""Async client and command line for the Milvue AI API v3: studies out, predictions back."""

from milvue_async.client import MilvueClient, PredictParameters
from milvue_async.dicom import InstanceHeader
from milvue_async.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    FormattingError,
    InvalidStudyError,
    InvalidUIDError,
    MilvueError,
    NotFoundError,
    PredictionError,
    PredictionFailedError,
    PredictionForbiddenError,
    PredictionTimeoutError,
    ProtocolError,
    QuotaExceededError,
    RequestTimeoutError,
    RequestValidationError,
    ServerError,
    TransportError,
)
from milvue_async.oneshot import (
    get,
    get_signed_url,
    get_smarturgences,
    get_smartxpert,
    get_status,
    post,
    post_interesting,
    post_signed_url,
    wait_done,
)
from milvue_async.outcomes import CommandResult, Outcome, StudyOutcome
from milvue_async.predicting import StageChanged
from milvue_async.protocol.models import (
    PostDicomWebResponseV3,
    SmarturgencesV3,
    SmartxpertV3,
    StudyStatus,
)
from milvue_async.retrying import Clock
from milvue_async.routes import RetrieveParameters, StoreParameters
from milvue_async.settings import Settings
from milvue_async.sources import Instance, Study, load_study
from milvue_async.streaming import OutcomeStream

__version__ = "0.1.0"

__all__ = [
    "APIError",
    "AuthenticationError",
    "Clock",
    "CommandResult",
    "ConfigurationError",
    "FormattingError",
    "Instance",
    "InstanceHeader",
    "InvalidStudyError",
    "InvalidUIDError",
    "MilvueClient",
    "MilvueError",
    "NotFoundError",
    "Outcome",
    "OutcomeStream",
    "PostDicomWebResponseV3",
    "PredictParameters",
    "PredictionError",
    "PredictionFailedError",
    "PredictionForbiddenError",
    "PredictionTimeoutError",
    "ProtocolError",
    "QuotaExceededError",
    "RequestTimeoutError",
    "RequestValidationError",
    "RetrieveParameters",
    "ServerError",
    "Settings",
    "SmarturgencesV3",
    "SmartxpertV3",
    "StageChanged",
    "StoreParameters",
    "Study",
    "StudyOutcome",
    "StudyStatus",
    "TransportError",
    "get",
    "get_signed_url",
    "get_smarturgences",
    "get_smartxpert",
    "get_status",
    "load_study",
    "post",
    "post_interesting",
    "post_signed_url",
    "wait_done",
]
