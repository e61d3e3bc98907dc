"""The control routes: faults, account, queue and clock, for whoever is on this machine.

They ask for no API key, so they answer to connections from this machine alone; and not to what
a web page of another origin has a browser send, whatever name that page came by.
"""

from __future__ import annotations

import json
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic_core import to_json

from milvue_async.simulator.faults import fault_from
from milvue_async.simulator.overview import overview_of
from milvue_async.simulator.replies import Refusal
from milvue_async.simulator.routing import route_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler

    from milvue_async.simulator.clock import SimulatorClock
    from milvue_async.simulator.config import SimulatorConfig
    from milvue_async.simulator.faults import Faults
    from milvue_async.simulator.state import State

__all__ = ["Control", "is_loopback"]

_ROOT = "/control"


class Control:
    """One handler a control route.

    Args:
        config: How many slots there are.
        state: The studies.
        faults: What goes wrong.
        clock: The simulator's.
        reset: Forgets all that was seen.
        keep: Makes the clock last.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        state: State,
        faults: Faults,
        clock: SimulatorClock,
        *,
        reset: Callable[[], Awaitable[None]],
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._state = state
        self._faults = faults
        self._clock = clock
        self._reset = reset
        self._keep = keep

    def table(self) -> list[web.RouteDef]:
        """Every route with its handler."""
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/account", self.get_account),
            ("GET", "/account/{study_instance_uid}", self.get_study_account),
            ("GET", "/queue", self.get_queue),
            ("GET", "/overview", self.get_overview),
            ("GET", "/faults", self.get_faults),
            ("PUT", "/faults", self.put_faults),
            ("DELETE", "/faults", self.delete_faults),
            ("GET", "/clock", self.get_clock),
            ("PUT", "/clock", self.put_clock),
            ("POST", "/reset", self.post_reset),
        ]
        return [route_of(method, _ROOT + path, _local(handler)) for method, path, handler in routes]

    async def get_account(self, _: web.Request) -> web.Response:
        """``GET /control/account``: every study, by StudyInstanceUID."""
        return _json({"now": self._clock(), "studies": self._state.account()})

    async def get_study_account(self, request: web.Request) -> web.Response:
        """``GET /control/account/{study_instance_uid}``."""
        account = self._state.account_of(request.match_info["study_instance_uid"])
        if account is None:
            raise Refusal(404, "Study not found")
        return _json(account)

    async def get_queue(self, _: web.Request) -> web.Response:
        """``GET /control/queue``: what waits and runs, in the order in which it is inferred."""
        queue = self._state.queue()
        return _json({"now": self._clock(), "slots": self._config.slots, "queue": queue})

    async def get_overview(self, _: web.Request) -> web.Response:
        """``GET /control/overview``: what the page for people shows."""
        overview = overview_of(self._state, self._faults, self._config.slots, self._clock())
        return _json(overview.model_dump(exclude_none=True))

    async def get_faults(self, _: web.Request) -> web.Response:
        """``GET /control/faults``: each fault, and how often it struck."""
        return _json(self._faults.account())

    async def put_faults(self, request: web.Request) -> web.Response:
        """``PUT /control/faults``: a JSON array of faults, as text or as objects, instead."""
        values = await _body(request)
        if not isinstance(values, list):
            raise Refusal(400, "The body is not a JSON array of faults")
        try:
            faults = [fault_from(each) for each in values]
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        self._faults.replace(faults)
        return _json(self._faults.account())

    async def delete_faults(self, _: web.Request) -> web.Response:
        """``DELETE /control/faults``: nothing goes wrong any more."""
        self._faults.replace([])
        return _json([])

    async def get_clock(self, _: web.Request) -> web.Response:
        """``GET /control/clock``: what time it is."""
        return _json({"now": self._clock(), "ahead": self._clock.ahead})

    async def put_clock(self, request: web.Request) -> web.Response:
        """``PUT /control/clock``: ``{"ahead": seconds}`` puts it so far ahead of real time."""
        match await _body(request):
            case {"ahead": int() | float() as ahead}:
                pass
            case _:
                raise Refusal(400, 'The body is not {"ahead": seconds}')
        try:
            self._clock.put(ahead)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        await self._keep()
        return await self.get_clock(request)

    async def post_reset(self, _: web.Request) -> web.Response:
        """``POST /control/reset``: as after a start, with an empty folder."""
        await self._reset()
        return web.Response(status=204)


def is_loopback(address: str) -> bool:
    """Whether an IP address is of this machine alone; what is none is not."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def _local(handler: Handler) -> Handler:
    async def check(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request.remote or ""):
            raise Refusal(403, "The control routes answer on the simulator's own machine only")
        if not _names_loopback(request.host):
            raise Refusal(403, "The control routes answer to a Host of their own machine only")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise Refusal(403, "The control routes do not answer to pages of another origin")
        return await handler(request)

    return check


def _names_loopback(host: str) -> bool:
    """Whether a Host header is of this machine, whatever its port.

    Any other name can be made to lead here by whoever owns it, for the pages that come from it.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def _json(value: Any) -> web.Response:
    return web.Response(body=to_json(value), content_type="application/json")


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise Refusal(400, "The body is not JSON") from None
