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
import urllib.request
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self, TypeVar

import aiohttp
import anyio
import anyio.to_thread
from tenacity import AsyncRetrying, retry_if_exception
from yarl import URL

from milvue_async.errors import APIError, ConfigurationError, MilvueError, RequestTimeoutError
from milvue_async.exchange import Body, IncomingReply, OpenBody, Watch, WatchedBody
from milvue_async.protocol.backoff import RetryBudget, RetrySchedule
from milvue_async.protocol.replies import refusal
from milvue_async.retrying import SystemClock, Tries, is_retryable
from milvue_async.transport_errors import FOREIGN, translated

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from milvue_async.protocol.requests import Reply, Request
    from milvue_async.retrying import Clock
    from milvue_async.settings import Settings

__all__ = ["Body", "IncomingReply", "Transport"]

KEY_HEADER = "x-goog-meta-owner"

_LOG = logging.getLogger("milvue_async")
# Below the 5 s after which uvicorn, the shortest of the usual servers, drops an idle connection:
# a POST that meets that edge fails, and must not be resent blindly.
_KEEPALIVE_SECONDS = 4.0
_READ_BUFFER = 1 << 18
_ERROR_BODY_BYTES = 1 << 16
_CLOSING_SECONDS = 5.0

T = TypeVar("T")


class _Proxies:
    """The proxies that the environment names.

    aiohttp would look them up itself, and the user's .netrc with them: storage refuses a signed
    URL that comes with a second credential.
    """

    def __init__(self, *, trust_env: bool) -> None:
        self._by_scheme = urllib.request.getproxies() if trust_env else {}

    async def of(self, url: URL) -> str | None:
        proxy = self._by_scheme.get(url.scheme)
        if proxy is None or url.host is None:
            return None
        # Elsewhere than on Linux this asks the system.
        is_bypassed = await anyio.to_thread.run_sync(urllib.request.proxy_bypass, url.host)
        return None if is_bypassed else proxy


class _Connector(aiohttp.TCPConnector):
    """Tells which connections a request was given, so that they can be cut off."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            _given.get().append(connection.transport)
        return connection


_given: ContextVar[list[asyncio.Transport]] = ContextVar("_given")


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
        self._proxies = _Proxies(trust_env=settings.trust_env)
        self._session: aiohttp.ClientSession | None = None
        self._schedule = RetrySchedule(
            attempts=settings.retry_attempts,
            timeout=settings.retry_timeout,
            base=settings.retry_base,
            cap=settings.retry_cap,
        )

    async def __aenter__(self) -> Self:
        # The limit is a semaphore of ours: waiting for a connection is no lack of progress.
        connector = _Connector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS, ssl=self._ssl or True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=self.settings.connect_timeout),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            skip_auto_headers=("Content-Type",),
        )
        # Or aiohttp would send each GET again at once: beyond the attempts, the delays, the budget.
        self._session._retry_connection = False  # noqa: SLF001  there is no option for it
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
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

        Raises:
            APIError: The API refused.
            TransportError: The network failed, and went on failing.
            ProtocolError: The answer cannot be understood.
        """
        tries = Tries(self._schedule, self.budget, self.clock)

        async def one_try() -> T:
            if recover is not None and tries.in_doubt:
                found = await _asked(recover)
                if found is not None:
                    return found
                tries.in_doubt = False
            async with contextlib.nullcontext() if slots is None else slots, self._connections:
                tries.begin()
                return await self._attempt(request, consume, body)

        result = await _tried_again(one_try, tries, self.clock)
        self.budget.refund()
        return result

    async def once(self, request: Request, consume: Callable[[IncomingReply], Awaitable[T]]) -> T:
        """Send a request a single time; arguments and errors as `send`."""
        async with self._connections:
            return await self._attempt(request, consume, None)

    async def _attempt(
        self,
        request: Request,
        consume: Callable[[IncomingReply], Awaitable[T]],
        body: Body | None,
    ) -> T:
        timeout = math.inf if request.is_transfer else self.settings.request_timeout
        watch = Watch(self.settings.idle_timeout, timeout)
        with watch.scope:
            return await self._exchange(request, consume, body, watch)
        raise self._timed_out(request)

    async def _exchange(
        self,
        request: Request,
        consume: Callable[[IncomingReply], Awaitable[T]],
        body: Body | None,
        watch: Watch,
    ) -> T:
        chunks = body.open() if body is not None else None
        given: list[asyncio.Transport] = []
        token = _given.set(given)
        started = self.clock.monotonic()
        reply = None
        try:
            reply = await self._open(request, body, chunks, watch)
            _log(request, reply.status, self.clock.monotonic() - started)
            return await self._receive(reply, request, consume)
        except MilvueError as error:
            error.concerning(route=request.route, study_instance_uid=request.study_instance_uid)
            raise
        finally:
            _given.reset(token)
            _let_go(reply, given)
            if chunks is not None:
                chunks.close()

    async def _open(
        self, request: Request, body: Body | None, chunks: OpenBody | None, watch: Watch
    ) -> IncomingReply:
        if self._session is None:
            msg = "the client is not open: use `async with MilvueClient(...)`"
            raise ConfigurationError(msg)
        try:
            # Neither the URL nor the headers nor what aiohttp returns, which shows both, stands in
            # a variable: what reports errors may print those of every frame.
            return IncomingReply(
                await self._session.request(
                    request.method,
                    self._url(request),
                    headers=self._headers(request, body),
                    data=None if chunks is None else WatchedBody(chunks, watch),
                    allow_redirects=False,
                    proxy=await self._proxies.of(self._url(request)),
                ),
                request,
                watch,
            )
        except FOREIGN as exc:
            error = translated(exc, request)
        # A body that could not be read explains better what happened than the broken connection.
        raise chunks.error if chunks is not None and chunks.error is not None else error

    async def _receive(
        self,
        reply: IncomingReply,
        request: Request,
        consume: Callable[[IncomingReply], Awaitable[T]],
    ) -> T:
        if not 200 <= reply.status < 300:  # noqa: PLR2004  the 2xx of RFC 9110
            raise refusal(await reply.read_refusal(_ERROR_BODY_BYTES), request, secret=self._key())
        try:
            return await consume(reply)
        except MilvueError as error:
            error.status = error.status or reply.status
            # It was accepted, and not said so in words that can be read.
            error.in_doubt |= request.submits and not isinstance(error, APIError)
            raise

    def _key(self) -> str:
        return self.settings.token.get_secret_value()

    def _headers(self, request: Request, body: Body | None) -> dict[str, str]:
        length = {} if body is None else {"Content-Length": str(body.length)}
        return {
            **dict(request.headers),
            **length,
            KEY_HEADER: self._key(),
            "Accept-Encoding": "identity",
            "User-Agent": "milvue-async",
        }

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


async def _tried_again(one_try: Callable[[], Awaitable[T]], tries: Tries, clock: Clock) -> T:
    """What the first try gives, or one of those after it."""
    try:
        # By far the most common case, and tenacity costs as much as half a request.
        return await one_try()
    except MilvueError as error:
        if not is_retryable(error):
            raise
        failures = [error]

    async def next_try() -> T:
        if failures:
            raise failures.pop()
        return await one_try()

    retrying = AsyncRetrying(
        sleep=clock.sleep,
        wait=tries.wait,
        stop=tries.stop,
        retry=retry_if_exception(is_retryable),
        reraise=True,
    )
    result: T = await retrying(next_try)
    return result


def _let_go(reply: IncomingReply | None, given: list[asyncio.Transport]) -> None:
    """Give a connection back whose answer was read to its end; cut any other off.

    Closing it would first send what is left of the body, and wait for ever for a server that does
    not read.
    """
    if reply is None or not reply.is_complete:
        for connection in given:
            connection.abort()
    if reply is not None:
        reply.release()


async def _asked(recover: Callable[[], Awaitable[T | None]]) -> T | None:
    """What the server knows of a study in doubt; while it cannot be asked, the doubt stays."""
    try:
        return await recover()
    except MilvueError as error:
        error.in_doubt = True
        raise


def _log(request: Request, status: int, seconds: float) -> None:
    uid = request.study_instance_uid
    _LOG.debug("%s %s: HTTP %d after %.3f s", request.route, uid, status, seconds)
