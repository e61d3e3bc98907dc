"""Every exception that aiohttp can raise has its place in the tree of this package."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from yarl import URL

from milvue_async import MilvueError, ProtocolError, RequestTimeoutError, TransportError
from milvue_async.protocol.requests import status_request, store_request
from milvue_async.transport_errors import FOREIGN, translated
from tests.faults.support import KEY, SIGNATURE, STUDY_UID, assert_reveals_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

_REQUEST = status_request(STUDY_UID)
_STORE = store_request(STUDY_UID, "multipart/related")
_SECRET_URL = f"https://storage/blob?sig={SIGNATURE}"
# Raised by nothing that this package calls: it is of WebSockets, and a TypeError.
_NOT_OURS = {aiohttp.WSMessageTypeError}


def _of_aiohttp() -> list[type[Exception]]:
    modules = (client_exceptions, http_exceptions)
    classes = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and value.__module__.startswith("aiohttp")
    }
    return sorted(classes - _NOT_OURS, key=lambda kind: kind.__name__)


class _Empty:
    """Stands in for whatever an exception expects to have been made with."""

    host, port, is_ssl, ssl = "host", 1, True, True
    real_url = URL(_SECRET_URL)


def _made(kind: type[Exception]) -> Exception:
    """An instance, made without its constructor, that carries what must not come out."""
    error = kind.__new__(kind)
    error.args = (KEY, _SECRET_URL)
    for name in ("_conn_key", "request_info", "_os_error", "_certificate_error", "_url"):
        error.__dict__[name] = _Empty()
    error.__dict__ |= {"status": 502, "message": KEY, "headers": {"x-goog-meta-owner": KEY}}
    return error


@pytest.mark.parametrize("kind", _of_aiohttp(), ids=lambda kind: kind.__name__)
def test_every_exception_of_aiohttp_becomes_one_of_ours_and_leaves_its_secrets_behind(
    kind: type[Exception],
) -> None:
    assert issubclass(kind, FOREIGN)
    error = translated(_made(kind), _REQUEST)
    assert isinstance(error, TransportError | ProtocolError)
    assert (error.route, error.study_instance_uid) == (_REQUEST.route, STUDY_UID)
    assert error.status is None
    assert_reveals_nothing(error)


def test_the_list_of_exceptions_is_not_empty() -> None:
    assert len(_of_aiohttp()) >= 35


def _refused(kind: type[aiohttp.ClientConnectorError], error: OSError) -> Exception:
    key = _Empty()
    return kind(key, error)  # type: ignore[arg-type]  # a host and a port are all it needs


def _cases() -> Iterator[tuple[Exception, type[MilvueError], bool, bool, str]]:
    """An exception, and its error: class, retried or not, in doubt or not, and its words."""
    refused = OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)")
    no_name = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    response = (_Empty(), ())
    yield _refused(aiohttp.ClientConnectorError, refused), TransportError, True, False, "refused"
    yield _refused(aiohttp.ClientConnectorDNSError, no_name), TransportError, True, False, "Name"
    yield _refused(aiohttp.ClientProxyConnectionError, refused), TransportError, True, False, "host"
    handshake = ssl.SSLError(1, "handshake")
    yield _refused(aiohttp.ClientConnectorSSLError, handshake), TransportError, False, False, "TLS"
    fingerprint = aiohttp.ServerFingerprintMismatch(b"a", b"b", "host", 1)
    yield fingerprint, TransportError, False, True, "TLS"
    yield aiohttp.ConnectionTimeoutError(), RequestTimeoutError, True, False, "connect"
    yield aiohttp.SocketTimeoutError(), RequestTimeoutError, True, True, "no answer"
    yield TimeoutError(), RequestTimeoutError, True, True, "no answer"
    yield aiohttp.ServerDisconnectedError(), TransportError, True, True, "closed by the server"
    cut = aiohttp.ClientOSError(None, f"Can not write request body for {_SECRET_URL}")
    yield cut, TransportError, True, True, "broke"
    yield aiohttp.ClientOSError(errno.EPIPE, _SECRET_URL), TransportError, True, True, "Broken pipe"
    yield ConnectionResetError(errno.ECONNRESET, KEY), TransportError, True, True, "reset by peer"
    yield aiohttp.ClientPayloadError(_SECRET_URL), TransportError, True, True, "broke off"
    yield aiohttp.InvalidURL(_SECRET_URL), ProtocolError, False, False, "could not be made"
    yield ValueError(KEY), ProtocolError, False, True, "could not be made"
    for status, is_retried in ((407, False), (403, False), (502, True), (503, True), (504, True)):
        proxy = aiohttp.ClientHttpProxyError(*response, status=status)  # type: ignore[arg-type]
        yield proxy, TransportError, is_retried, False, f"proxy refused with status {status}"
    garbage = aiohttp.ClientResponseError(*response, status=400)  # type: ignore[arg-type]
    yield garbage, ProtocolError, False, True, "not HTTP"


@pytest.mark.parametrize("case", list(_cases()), ids=lambda case: type(case[0]).__name__)
def test_an_exception_becomes_the_error_that_says_what_to_do(
    case: tuple[Exception, type[MilvueError], bool, bool, str],
) -> None:
    exception, kind, is_retried, is_doubtful, words = case
    error = translated(exception, _STORE)
    assert type(error) is kind
    assert error.retryable == is_retried
    assert error.in_doubt == is_doubtful
    assert words in error.message
    assert error.status is None
    assert_reveals_nothing(error)


def test_only_a_request_that_submits_a_study_can_leave_one_in_doubt() -> None:
    assert not translated(aiohttp.ServerDisconnectedError(), _REQUEST).in_doubt
