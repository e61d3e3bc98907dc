"""One exchange with a client: a fault may strike, the key is checked, a route answers."""

from __future__ import annotations

import logging
import uuid
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from milvue_async.simulator.bodies import BodyTooLargeError
from milvue_async.simulator.parameters import InvalidQueryError
from milvue_async.simulator.quotas import QuotaError
from milvue_async.simulator.replies import CLIENT, Answer, Refusal, json_answer, retry_after
from milvue_async.simulator.sending import STARTED, send
from milvue_async.simulator.signing import Client
from milvue_async.simulator.stow import StowError
from milvue_async.simulator.strikes import Struck, strike

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler

    from milvue_async.simulator.config import SimulatorConfig
    from milvue_async.simulator.faults import Faults
    from milvue_async.simulator.quotas import RequestRate

__all__ = ["Exchanges", "Route", "refused"]

_OWNER_HEADER = "x-goog-meta-owner"
_API = "/v3/"
_UUID_VERSION = 4
_logger = logging.getLogger(__name__)


class Route(NamedTuple):
    """A route of the API or of the storage: what asks for it, and what answers.

    Attributes:
        method: GET, POST or PUT.
        path: As aiohttp writes it, with names in braces.
        handler: Answers; its name, such as ``get_status``, is that of the route.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[Answer]]

    @property
    def name(self) -> str:
        """The name of the route."""
        return self.handler.__name__


class Exchanges:
    """What stands between the wire and the routes.

    Args:
        config: Which API keys are known.
        faults: What goes wrong.
        rate: How many requests of the API are answered.
        save: Makes what has changed last, before a client is told of it.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        faults: Faults,
        rate: RequestRate,
        save: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._faults = faults
        self._rate = rate
        self._save = save
        self._is_stopping = False

    async def stop(self, _: web.Application) -> None:
        """Let go of the connections that faults hold."""
        self._is_stopping = True

    def handler(self, route: Route) -> Handler:
        """A route as aiohttp wants it."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await self._exchange(route, request)
            except ConnectionError:  # the client is gone: it gets neither of the two
                return request.get(STARTED) or web.StreamResponse()

        return handle

    async def _exchange(self, route: Route, request: web.Request) -> web.StreamResponse:
        fault = self._faults.strike(request.method, request.rel_url.raw_path, route.name)
        answer = partial(self._answer, route, request)
        if fault is None:
            reply = await send(request, await answer())
        else:
            reply = await strike(Struck(fault, request, answer, lambda: self._is_stopping))
        await self._save()
        return reply

    async def _answer(self, route: Route, request: web.Request) -> Answer:
        """The answer of a route, or the one that says why there is none."""
        try:
            request[CLIENT] = Client(self._key(request), _origin(request))
            if route.path.startswith(_API):
                self._rate.take()
            answer = await route.handler(request)
            await self._save()
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  each becomes an answer
            return refused(error, self._config, route.name)
        return answer

    def _key(self, request: web.Request) -> str:
        key = request.headers.get(_OWNER_HEADER, "")
        keys = self._config.api_keys
        if not (_is_uuid_v4(key) if keys is None else key in keys):
            raise Refusal(403, f"The API key in {_OWNER_HEADER} is missing or not known")
        return key


def refused(error: Exception, config: SimulatorConfig, name: str) -> Answer:
    """An error as the answer that the API documents for it.

    Args:
        error: What was raised.
        config: What the answer says of limits.
        name: Of the route, for the log, where the simulator itself has failed.
    """
    if isinstance(error, InvalidQueryError):
        return json_answer(error.body, status=422)
    refusal = _refusal(error, config)
    if refusal is None:
        _logger.error("%s failed", name, exc_info=error)
        refusal = Refusal(500, "The simulator failed")
    return refusal.answer()


def _refusal(error: Exception, config: SimulatorConfig) -> Refusal | None:
    match error:
        case Refusal():
            return error
        case QuotaError():
            return Refusal(429, "Exceeded quota", retry_after(config.retry_after))
        case BodyTooLargeError():
            return Refusal(413, f"The body is over {config.max_body_bytes} bytes")
        case StowError():
            return Refusal(400, str(error))
        case web.RequestPayloadError():
            return Refusal(400, "The body does not have its Content-Encoding")
        case _:
            return None


def _origin(request: web.Request) -> str:
    try:
        return str(request.url.origin())
    except ValueError:
        raise Refusal(400, "The Host header is not usable") from None


def _is_uuid_v4(key: str) -> bool:
    try:
        parsed = uuid.UUID(key)
    except ValueError:
        return False
    return parsed.version == _UUID_VERSION and str(parsed) == key.lower()
