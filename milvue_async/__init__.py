"""Async client and command line for the Milvue AI API v3: studies out, predictions back."""

import typing as _typing

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

if _typing.TYPE_CHECKING:
    from milvue_async.batch import Filters, RunLimits, RunSummary, process_directory

__version__ = "0.1.0"

__all__ = [
    "APIError",
    "AuthenticationError",
    "Clock",
    "CommandResult",
    "ConfigurationError",
    "Filters",
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
    "RunLimits",
    "RunSummary",
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
    "process_directory",
    "wait_done",
]

_BATCH = frozenset({"Filters", "RunLimits", "RunSummary", "process_directory"})


def __getattr__(name: str) -> _typing.Any:
    """Import what is for whole directories when it is asked for; a service needs none of it."""
    if name not in _BATCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from milvue_async import batch  # noqa: PLC0415  as it says

    value = globals()[name] = getattr(batch, name)
    return value
