"""The aiohttp application: routes, keys, and every error as the body the API documents for it."""

from __future__ import annotations

import logging
import math
import time
import uuid
from typing import TYPE_CHECKING

from aiohttp import web
from anyio import to_thread

from milvue_async.simulator.blobs import Blobs
from milvue_async.simulator.bodies import Bodies, BodyTooLargeError
from milvue_async.simulator.parameters import InvalidQueryError
from milvue_async.simulator.replies import CLIENT, STARTED, Refusal, json_reply
from milvue_async.simulator.results import Results
from milvue_async.simulator.routes import Routes
from milvue_async.simulator.signing import Client, UrlSigner
from milvue_async.simulator.state import QuotaError, State
from milvue_async.simulator.stow import StowError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler, Middleware

    from milvue_async.simulator.config import SimulatorConfig

__all__ = ["STATE", "create_app"]

STATE = web.AppKey("state", State)

_OWNER_HEADER = "x-goog-meta-owner"
_UUID_VERSION = 4
_REFUSED = (Refusal, web.HTTPException, QuotaError, BodyTooLargeError, StowError)
_logger = logging.getLogger(__name__)


def create_app(
    config: SimulatorConfig, *, clock: Callable[[], float] = time.monotonic
) -> web.Application:
    """A Milvue API v3 with a state of its own.

    Args:
        config: The script.
        clock: Seconds that only grow.
    """
    state = State(config, clock)
    bodies = Bodies(config.folder, config.max_body_bytes)
    blobs = Blobs(state, bodies, UrlSigner(config.signed_url_seconds, clock))
    routes = Routes(state, bodies, blobs, Results(bodies), gzip_parts=config.gzip_parts)

    async def open_folders(_: web.Application) -> AsyncIterator[None]:
        await to_thread.run_sync(bodies.open)
        yield
        await to_thread.run_sync(bodies.close)

    app = web.Application(middlewares=[_documented_errors(config), _known_keys(config)])
    app[STATE] = state
    app.cleanup_ctx.append(open_folders)
    app.add_routes([*routes.table(), *blobs.table()])
    return app


def _known_keys(config: SimulatorConfig) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        key = request.headers.get(_OWNER_HEADER, "")
        known = _is_uuid_v4(key) if config.api_keys is None else key in config.api_keys
        if not known:
            raise Refusal(403, f"The API key in {_OWNER_HEADER} is missing or not known")
        request[CLIENT] = Client(key, _origin(request))
        return await handler(request)

    return check


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


def _documented_errors(config: SimulatorConfig) -> Middleware:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except InvalidQueryError as error:
            return json_reply(error.body, status=422)
        except _REFUSED as error:
            return _refusal(error, config).reply()
        except web.RequestPayloadError:
            return Refusal(400, "The body does not have its Content-Encoding").reply()
        except ConnectionError:  # the client is gone: it gets neither of the two
            return request.get(STARTED) or Refusal(400, "The body ends too soon").reply()
        except Exception:
            if STARTED in request:
                raise  # aiohttp cuts the connection, as an answer that broke off must be
            _logger.exception("%s failed", request.match_info.handler.__name__)
            return Refusal(500, "The simulator failed").reply()

    return answer


def _refusal(error: Exception, config: SimulatorConfig) -> Refusal:
    match error:
        case Refusal():
            return error
        case web.HTTPException():
            allow = error.headers.get("Allow")
            return Refusal(error.status, error.reason, {"Allow": allow} if allow else None)
        case QuotaError():
            wait = config.retry_after
            headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
            return Refusal(429, "Exceeded quota", headers)
        case BodyTooLargeError():
            return Refusal(413, f"The body is over {config.max_body_bytes} bytes")
        case _:
            return Refusal(400, str(error))
