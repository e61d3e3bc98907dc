"""What the exceptions of aiohttp mean here, without the key and the URLs that they carry."""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp

from milvue_async.errors import (
    MilvueError,
    ProtocolError,
    RequestTimeoutError,
    TransportError,
)
from milvue_async.protocol.replies import RETRYABLE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from milvue_async.protocol.requests import Request

__all__ = ["FOREIGN", "translated"]

# Everything that sending and receiving raises.
FOREIGN = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError)

# Nothing of the request left this machine, or nothing of it passed the proxy.
_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
)
_TLS = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientConnectorSSLError,
    aiohttp.ServerFingerprintMismatch,
)


def translated(exc: Exception, request: Request) -> MilvueError:
    """The error of this package that a foreign exception stands for.

    To be raised outside of the ``except`` block that caught ``exc``, so that not even its context
    leads back to it.

    Args:
        exc: One of `FOREIGN`.
        request: What was being sent, or answered.
    """
    error = _map(exc)
    error.in_doubt = request.submits and not isinstance(exc, _NOT_SENT)
    return error.concerning(route=request.route, study_instance_uid=request.study_instance_uid)


def _map(exc: Exception) -> MilvueError:
    for kind, build in _TRANSLATIONS:
        if isinstance(exc, kind):
            return build(exc)
    return ProtocolError("the request could not be made, or its answer not be read")


def _refused_by_proxy(exc: aiohttp.ClientHttpProxyError) -> TransportError:
    return TransportError(
        f"the proxy refused with status {exc.status}", retryable=exc.status in RETRYABLE_STATUSES
    )


def _reason(exc: Any) -> str:
    """What went wrong, in words that name no header and no URL."""
    inner = getattr(exc, "os_error", None) or getattr(exc, "certificate_error", None) or exc
    if isinstance(inner, ssl.SSLError):
        # OpenSSL's words, which an error of other making lacks.
        said = getattr(inner, "verify_message", None) or getattr(inner, "reason", None)
        return said or "handshake"
    if isinstance(inner, socket.gaierror):
        return inner.strerror or "name look-up"
    if isinstance(inner, aiohttp.ServerDisconnectedError):
        return "closed by the server"
    # Not `strerror`: aiohttp puts the URL there, signature and all, where a body was cut off.
    number = getattr(inner, "errno", None)
    return os.strerror(number) if number else "closed"


_Translation = tuple[type[Exception] | tuple[type[Exception], ...], "Callable[[Any], MilvueError]"]
# The first that fits is taken, so what is derived stands before what it derives from.
_TRANSLATIONS: tuple[_Translation, ...] = (
    (_TLS, lambda exc: TransportError(f"TLS failed: {_reason(exc)}", retryable=False)),
    (aiohttp.ConnectionTimeoutError, lambda _: RequestTimeoutError("could not connect in time")),
    (TimeoutError, lambda _: RequestTimeoutError("no answer in time")),
    (
        aiohttp.ClientConnectorError,
        lambda exc: TransportError(f"could not connect to {exc.host}:{exc.port}: {_reason(exc)}"),
    ),
    (aiohttp.ClientHttpProxyError, _refused_by_proxy),
    # Also what aiohttp raises, with a status no server sent, where the status line is garbage.
    (
        aiohttp.ClientResponseError,
        lambda _: ProtocolError("the answer is not HTTP, or has oversized headers"),
    ),
    (aiohttp.ClientPayloadError, lambda _: TransportError("the answer broke off")),
    (
        (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError),
        lambda _: ProtocolError("the request could not be made"),
    ),
    # Whatever else a release of aiohttp may raise while it sends.
    (
        (aiohttp.ClientError, OSError),
        lambda exc: TransportError(f"the connection broke: {_reason(exc)}"),
    ),
)
