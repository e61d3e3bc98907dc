"""The one place that touches aiohttp: sends requests, watches progress, retries, maps failures.

What it guards against is measured: redirects would carry the key along, a stalled upload would
hang, a spent body would be sent empty, and aiohttp's exceptions carry the key in their repr. So
no redirect is followed, progress is watched in both directions, each try builds its body anew,
and each exception is translated outside of its ``except`` block, so that not even its context
leads back to the original.
"""

from __future__ import annotations

import contextlib
import logging
import math
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import aiohttp
import anyio
from tenacity import AsyncRetrying, retry_if_exception
from yarl import URL

from milvue_async.errors import (
    ConfigurationError,
    MilvueError,
    ProtocolError,
    RequestTimeoutError,
    TransportError,
)
from milvue_async.protocol.backoff import RetryBudget, RetrySchedule
from milvue_async.protocol.inflate import BoundedInflater
from milvue_async.protocol.replies import refusal
from milvue_async.protocol.requests import Reply, Request
from milvue_async.retrying import SystemClock, Tries, is_retryable

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from milvue_async.retrying import Clock
    from milvue_async.settings import Settings

__all__ = ["Body", "IncomingReply", "Transport"]

KEY_HEADER = "x-goog-meta-owner"

_LOG = logging.getLogger("milvue_async")
# Below the 5 s after which uvicorn, the shortest of the usual servers, drops an idle connection:
# a POST that meets that edge fails, and must not be resent blindly.
_KEEPALIVE_SECONDS = 4.0
_READ_BUFFER = 1 << 18
# A server that drips a few bytes a minute makes no progress.
_PROGRESS_BYTES = 1024
_ERROR_BODY_BYTES = 1 << 16

# Everything that sending and receiving raises.
_FOREIGN = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError)

T = TypeVar("T")


class OpenBody(Protocol):
    """The chunks of one try's body."""

    error: MilvueError | None

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]: ...

    def close(self) -> None: ...


class Body(Protocol):
    """A request's body, which can be sent any number of times."""

    @property
    def length(self) -> int:
        """Bytes in all."""

    def open(self) -> OpenBody:
        """Begin anew, from the first byte."""


class _Watch:
    """A deadline that moves on while bytes do, in either direction."""

    def __init__(self, idle: float, timeout: float) -> None:
        self._idle = idle
        now = anyio.current_time()
        self._end = now + timeout
        self._moved = 0
        self.scope = anyio.CancelScope(deadline=min(self._end, now + idle))

    def moved(self, count: int) -> None:
        self._moved += count
        if self._moved >= _PROGRESS_BYTES:
            self._moved = 0
            self.scope.deadline = min(self._end, anyio.current_time() + self._idle)


class IncomingReply:
    """An answer whose body is still on its way.

    Attributes:
        status: HTTP status code.
        headers: Names in lower case.
    """

    def __init__(self, response: aiohttp.ClientResponse, request: Request, watch: _Watch) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._request = request
        self._watch = watch

    async def chunks(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes in, a ``Content-Encoding`` undone.

        Args:
            max_bytes: Bytes that the body may inflate to.

        Raises:
            TransportError: The connection broke.
            ProtocolError: The encoding is unknown or damaged, or inflates to too much.
        """
        inflater = _inflater(self.headers, max_bytes)
        while chunk := await self._read():
            if inflater is None:
                yield chunk
            else:
                for piece in inflater.inflate(chunk):
                    yield piece
        if inflater is not None:
            inflater.close()

    async def read(self, max_bytes: int) -> Reply:
        """The whole answer.

        Raises:
            TransportError: The connection broke.
            ProtocolError: It is longer than ``max_bytes``.
        """
        body = bytearray()
        async for chunk in self.chunks(max_bytes):
            body += chunk
            if len(body) > max_bytes:
                msg = f"the answer is longer than {max_bytes} bytes"
                raise ProtocolError(msg, status=self.status)
        return Reply(self.status, self.headers, bytes(body))

    async def _read(self) -> bytes:
        try:
            chunk = await self._response.content.readany()
        except _FOREIGN as exc:
            error = _translated(exc, self._request)
        else:
            self._watch.moved(len(chunk))
            return chunk
        raise error


class Transport:
    """Sends requests and keeps the limits of one client.

    Args:
        settings: Where to, with which key, within which limits.
        clock: Time and chance.
        ssl_context: For a private certificate authority; the system's trust by default.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.budget = RetryBudget()
        self.upload_slots = anyio.Semaphore(settings.max_uploads)
        self.download_slots = anyio.Semaphore(settings.max_downloads)
        self._connections = anyio.Semaphore(settings.max_connections)
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._schedule = RetrySchedule(
            attempts=settings.retry_attempts,
            timeout=settings.retry_timeout,
            base=settings.retry_base,
            cap=settings.retry_cap,
        )

    async def __aenter__(self) -> Self:
        # The limit is a semaphore of ours: waiting for a connection is no lack of progress.
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ssl=self._ssl or True
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout),
            auto_decompress=False,
            trust_env=self.settings.trust_env,
            read_bufsize=_READ_BUFFER,
            skip_auto_headers=("Content-Type",),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            with anyio.CancelScope(shield=True):
                await session.close()

    async def fetch(self, request: Request, *, body: Body | None = None) -> Reply:
        """Send a request of a JSON route; the whole answer.

        Raises:
            MilvueError: As `send`.
        """
        limit = self.settings.max_json_bytes
        return await self.send(request, lambda reply: reply.read(limit), body=body)

    async def send(
        self,
        request: Request,
        consume: Callable[[IncomingReply], Awaitable[T]],
        *,
        body: Body | None = None,
        slots: anyio.Semaphore | None = None,
        recover: Callable[[], Awaitable[T | None]] | None = None,
        on_try: Callable[[], None] | None = None,
    ) -> T:
        """Send a request, again where that can help; what ``consume`` makes of the answer.

        Args:
            request: What to send.
            consume: Reads a 2xx answer; called anew for each try.
            body: What to send with it.
            slots: Held while bytes move, free while waiting for the next try.
            recover: Asked before a next try when the last one left it in doubt whether the
                server has the study: something other than None is the result, and nothing is
                sent again.
            on_try: Called when a try begins.

        Raises:
            APIError: The API refused.
            TransportError: The network failed, and went on failing.
            ProtocolError: The answer cannot be understood.
        """
        tries = Tries(self._schedule, self.budget, self.clock)
        retrying = AsyncRetrying(
            sleep=self.clock.sleep,
            wait=tries.wait,
            stop=tries.stop,
            retry=retry_if_exception(is_retryable),
            reraise=True,
        )

        async def one_try() -> T:
            if recover is not None and tries.in_doubt:
                found = await _asked(recover)
                if found is not None:
                    return found
                tries.in_doubt = False
            if on_try is not None:
                on_try()
            async with contextlib.nullcontext() if slots is None else slots:
                return await self._attempt(request, consume, body)

        result: T = await retrying(one_try)
        self.budget.refund()
        return result

    async def once(self, request: Request, consume: Callable[[IncomingReply], Awaitable[T]]) -> T:
        """Send a request a single time; arguments and errors as `send`."""
        return await self._attempt(request, consume, None)

    async def _attempt(
        self,
        request: Request,
        consume: Callable[[IncomingReply], Awaitable[T]],
        body: Body | None,
    ) -> T:
        async with self._connections:
            timeout = math.inf if request.is_transfer else self.settings.request_timeout
            watch = _Watch(self.settings.idle_timeout, timeout)
            with watch.scope:
                return await self._exchange(request, consume, body, watch)
        raise self._timed_out(request)

    async def _exchange(
        self,
        request: Request,
        consume: Callable[[IncomingReply], Awaitable[T]],
        body: Body | None,
        watch: _Watch,
    ) -> T:
        chunks = body.open() if body is not None else None
        started = self.clock.monotonic()
        response = None
        try:
            response = await self._open(request, body, chunks, watch)
            reply = IncomingReply(response, request, watch)
            _log(request, reply.status, self.clock.monotonic() - started)
            if not 200 <= reply.status < 300:  # noqa: PLR2004  the 2xx of RFC 9110
                raise refusal(await reply.read(_ERROR_BODY_BYTES), request, secret=self._key())
            return await consume(reply)
        except MilvueError as error:
            error.concerning(route=request.route, study_instance_uid=request.study_instance_uid)
            raise
        finally:
            if response is not None:
                # Closed where the body was not read to its end, else given back to the pool.
                response.release()
            if chunks is not None:
                chunks.close()

    async def _open(
        self, request: Request, body: Body | None, chunks: OpenBody | None, watch: _Watch
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            msg = "the client is not open: use `async with MilvueClient(...)`"
            raise ConfigurationError(msg)
        headers = dict(request.headers) | {
            KEY_HEADER: self._key(),
            "Accept-Encoding": "identity",
            "User-Agent": "milvue-async",
        }
        data = None
        if body is not None and chunks is not None:
            headers["Content-Length"] = str(body.length)
            data = _watched(chunks, watch)
        try:
            return await self._session.request(
                request.method,
                self._url(request),
                headers=headers,
                data=data,
                allow_redirects=False,
            )
        except _FOREIGN as exc:
            error = _translated(exc, request)
        # A body that could not be read explains better what happened than the broken connection.
        raise chunks.error if chunks is not None and chunks.error is not None else error

    def _key(self) -> str:
        return self.settings.token.get_secret_value()

    def _url(self, request: Request) -> URL:
        if request.is_signed:
            return URL(request.target, encoded=True)
        return URL(self.settings.api_url + request.target).with_query(request.query)

    def _timed_out(self, request: Request) -> RequestTimeoutError:
        return RequestTimeoutError(
            f"no progress for {self.settings.idle_timeout:g} s, or no whole answer in time",
            route=request.route,
            study_instance_uid=request.study_instance_uid,
            in_doubt=request.submits,
        )


async def _asked(recover: Callable[[], Awaitable[T | None]]) -> T | None:
    """What the server knows of a study in doubt; while it cannot be asked, the doubt stays."""
    try:
        return await recover()
    except MilvueError as error:
        error.in_doubt = True
        raise


async def _watched(chunks: OpenBody, watch: _Watch) -> AsyncIterator[bytes | memoryview]:
    async for chunk in chunks:
        yield chunk
        # aiohttp asks for the next one when this one has left its buffer.
        watch.moved(len(chunk))


def _inflater(headers: dict[str, str], max_bytes: int) -> BoundedInflater | None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return None
    if encoding in {"gzip", "x-gzip"}:
        return BoundedInflater(max_bytes)
    if encoding == "deflate":
        return BoundedInflater(max_bytes, wbits=15)
    msg = "the answer has a Content-Encoding that was not asked for"
    raise ProtocolError(msg)


def _log(request: Request, status: int, seconds: float) -> None:
    uid = request.study_instance_uid
    _LOG.debug("%s %s: HTTP %d after %.3f s", request.route, uid, status, seconds)


def _translated(exc: Exception, request: Request) -> MilvueError:
    """The error of this package that an exception of aiohttp's stands for."""
    error = _map(exc)
    error.in_doubt = request.submits and not isinstance(exc, _NOT_SENT)
    return error.concerning(route=request.route, study_instance_uid=request.study_instance_uid)


# Nothing of the request left this machine.
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_TLS = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientConnectorSSLError,
    aiohttp.ServerFingerprintMismatch,
)


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
    (
        aiohttp.ClientHttpProxyError,
        lambda exc: TransportError(f"the proxy refused with status {exc.status}", retryable=False),
    ),
    # Also what aiohttp raises, with a status no server sent, where the status line is garbage.
    (aiohttp.ClientResponseError, lambda _: ProtocolError("the answer is not HTTP")),
    (aiohttp.ClientPayloadError, lambda _: TransportError("the answer broke off")),
    (
        (aiohttp.ClientConnectionError, aiohttp.UploadAbortedError, OSError),
        lambda exc: TransportError(f"the connection broke: {_reason(exc)}"),
    ),
)


def _map(exc: Exception) -> MilvueError:
    for kind, build in _TRANSLATIONS:
        if isinstance(exc, kind):
            return build(exc)
    return ProtocolError("the request could not be made, or its answer not be read")


def _reason(exc: Exception) -> str:
    """The operating system's words for it, which name no header and no URL."""
    inner = getattr(exc, "os_error", None) or getattr(exc, "certificate_error", None) or exc
    if isinstance(inner, aiohttp.ServerDisconnectedError):
        return "closed by the server"
    return getattr(inner, "verify_message", None) or getattr(inner, "strerror", None) or "reset"
