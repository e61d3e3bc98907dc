"""Every exception this package raises, in one tree.

::

    MilvueError
    ├── ConfigurationError            a setting is missing or wrong; nothing was sent
    ├── InvalidStudyError             refused before sending; names the file
    ├── InvalidUIDError               not a DICOM UID
    ├── TransportError                the network failed: connect, reset, TLS
    │   └── RequestTimeoutError       no byte moved, or a deadline passed
    ├── ProtocolError                 an answer that is malformed, truncated or a redirect
    ├── APIError                      a documented refusal (any other status is one too)
    │   ├── AuthenticationError       403
    │   ├── NotFoundError             404
    │   ├── QuotaExceededError        429, with ``retry_after``
    │   ├── RequestValidationError    422, with ``details``
    │   ├── FormattingError           the server could not format the study
    │   └── ServerError               5xx
    └── PredictionError
        ├── PredictionFailedError     the study ended with status ``error``
        ├── PredictionTimeoutError    no result before the deadline
        └── PredictionForbiddenError  the account has no licence for this command

Every one carries ``route``, ``study_instance_uid`` and ``status``, each ``None`` where it has no
meaning. None of them carries the API key, the query of a signed URL, or a patient attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "APIError",
    "AuthenticationError",
    "ConfigurationError",
    "FormattingError",
    "InvalidStudyError",
    "InvalidUIDError",
    "MilvueError",
    "NotFoundError",
    "PredictionError",
    "PredictionFailedError",
    "PredictionForbiddenError",
    "PredictionTimeoutError",
    "ProtocolError",
    "QuotaExceededError",
    "RequestTimeoutError",
    "RequestValidationError",
    "ServerError",
    "TransportError",
]


class MilvueError(Exception):
    """The root of the tree.

    Args:
        message: One line: what was wrong, and what to do where that is known.
        route: Method and path template, such as ``GET /v3/studies/{study_instance_uid}/status``.
        study_instance_uid: StudyInstanceUID (0020,000D) of the study concerned.
        status: HTTP status code of the answer.
        retryable: Whether the same request may succeed later; the class's own answer by default.
        in_doubt: True where the server may have accepted the study all the same, so that sending
            it again could be paid for twice. Ask for its status first.
    """

    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        route: str | None = None,
        study_instance_uid: str | None = None,
        status: int | None = None,
        retryable: bool | None = None,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.route = route
        self.study_instance_uid = study_instance_uid
        self.status = status
        self.in_doubt = in_doubt
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        """The message, then in parentheses the status, the route and the study where known."""
        facts = (
            None if self.status is None else f"HTTP {self.status}",
            self.route,
            None if self.study_instance_uid is None else f"study {self.study_instance_uid}",
        )
        known = ", ".join(fact for fact in facts if fact)
        return f"{self.message} ({known})" if known else self.message

    def __reduce__(self) -> tuple[Callable[..., MilvueError], tuple[Any, ...]]:
        """Pickle by value: results cross process boundaries whole."""
        return _restore, (type(self), self.args, dict(self.__dict__))

    def concerning(
        self, *, route: str | None = None, study_instance_uid: str | None = None
    ) -> Self:
        """Fill in the route and the study where they are not known yet; returns itself."""
        self.route = self.route or route
        self.study_instance_uid = self.study_instance_uid or study_instance_uid
        return self


def _restore(cls: type[MilvueError], args: tuple[Any, ...], state: dict[str, Any]) -> MilvueError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(MilvueError):
    """A setting is missing or wrong. Nothing was sent."""


class InvalidStudyError(MilvueError):
    """A study was refused before anything of it was sent; the message names the file.

    Args:
        message: What is wrong with which file.
        source: The file or instance that was refused, as a person would name it.
        **context: As for `MilvueError`.
    """

    def __init__(self, message: str, *, source: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.source = source


class InvalidUIDError(MilvueError):
    """A value is not a DICOM UID (PS3.5 section 9), so it cannot name a study or a file."""


class TransportError(MilvueError):
    """The network failed before a whole answer arrived: connection, reset, TLS."""

    retryable = True


class RequestTimeoutError(TransportError):
    """No byte moved for too long, or the request's deadline passed."""


class ProtocolError(MilvueError):
    """The answer is malformed, truncated, or a redirect; nothing of it was kept."""


class APIError(MilvueError):
    """The API answered with a refusal; ``status`` is its HTTP status code."""

    status: int


class AuthenticationError(APIError):
    """403: the API key is unknown, or may not do this."""


class NotFoundError(APIError):
    """404: the study is not known to the API."""


class QuotaExceededError(APIError):
    """429: too many requests, or the account's quota is used up.

    Args:
        message: The server's own message.
        retry_after: Seconds the server asked to wait, or None where it did not say.
        **context: As for `MilvueError`.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.retry_after = retry_after


class RequestValidationError(APIError):
    """422: a parameter has a value the API does not know.

    Args:
        message: What was wrong, in one line.
        details: One entry for each wrong value: ``loc``, ``msg`` and ``type``.
        **context: As for `MilvueError`.
    """

    def __init__(self, message: str, *, details: Sequence[Any] = (), **context: Any) -> None:
        super().__init__(message, **context)
        self.details = tuple(details)


class FormattingError(APIError):
    """The server has the study but could not format it (``Error formatting study``)."""


class ServerError(APIError):
    """5xx: the server or a gateway before it failed.

    Args:
        message: The server's own message.
        retry_after: Seconds the server asked to wait, or None where it did not say.
        **context: As for `MilvueError`.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.retry_after = retry_after


class PredictionError(MilvueError):
    """The study was accepted, and no prediction can be had."""


class PredictionFailedError(PredictionError):
    """The study ended with status ``error``."""


class PredictionTimeoutError(PredictionError):
    """The prediction did not end before the deadline. The study may still end later."""


class PredictionForbiddenError(PredictionError):
    """The account has no licence for this command."""
