"""The aiohttp application: the routes, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from anyio import CancelScope, to_thread

from milvue_async.simulator.blobs import Blobs
from milvue_async.simulator.bodies import Bodies
from milvue_async.simulator.clock import SimulatorClock
from milvue_async.simulator.control import Control
from milvue_async.simulator.exchanges import Exchanges, refused
from milvue_async.simulator.faults import Faults
from milvue_async.simulator.journal import Journal, Keepsake
from milvue_async.simulator.pages import Pages
from milvue_async.simulator.quotas import RequestRate, StudyQuota
from milvue_async.simulator.replies import Refusal
from milvue_async.simulator.results import Results
from milvue_async.simulator.routes import Routes
from milvue_async.simulator.routing import route_of
from milvue_async.simulator.sending import STARTED, reply_of
from milvue_async.simulator.signing import UrlSigner
from milvue_async.simulator.state import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler, Middleware

    from milvue_async.simulator.config import SimulatorConfig
    from milvue_async.simulator.exchanges import Route

__all__ = ["STATE", "create_app"]

STATE = web.AppKey("state", State)


def create_app(
    config: SimulatorConfig, *, clock: Callable[[], float] | None = None
) -> web.Application:
    """A Milvue API v3 with a state of its own.

    Args:
        config: The script.
        clock: Seconds that only grow; by default those since 1970.
    """
    simulation = _Simulation(config, SimulatorClock(clock))
    app = web.Application(middlewares=[_documented_errors(config)])
    app[STATE] = simulation.state
    app.cleanup_ctx.append(simulation.run)
    app.on_shutdown.append(simulation.exchanges.stop)
    app.add_routes(simulation.table())
    return app


class _Simulation:
    """The parts of one simulator, and how they begin and end together."""

    def __init__(self, config: SimulatorConfig, clock: SimulatorClock) -> None:
        self._config = config
        self._clock = clock
        self._bodies = Bodies(config.folder, config.max_body_bytes)
        self._signer = UrlSigner(config.signed_url_seconds, clock)
        self._faults = Faults(config.faults, config.seed)
        self._quota = StudyQuota(config.quota_studies, clock)
        self._rate = RequestRate(config.requests_per_second, clock)
        self._journal: Journal | None = None
        self.state = State(config, clock)
        self.exchanges = Exchanges(config, self._faults, self._rate, self._save)

    def table(self) -> list[web.RouteDef]:
        """Every route with its handler."""
        blobs = Blobs(self.state, self._bodies, self._signer)
        routes = Routes(
            self.state,
            self._quota,
            self._bodies,
            blobs,
            Results(self._bodies, self._config.processes),
            gzip_parts=self._config.gzip_parts,
        )
        control = Control(
            self._config,
            self.state,
            self._faults,
            self._clock,
            reset=self._reset,
            keep=self._keep,
        )
        served: list[Route] = [*routes.table(), *blobs.table()]
        return [
            *(route_of(each.method, each.path, self.exchanges.handler(each)) for each in served),
            *control.table(),
            *Pages().table(),
        ]

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Open the folder, go on where the last simulator in it was, and close it at the end."""
        await to_thread.run_sync(self._bodies.open)
        try:
            if self._config.folder is not None:
                await self._go_on(Journal(self._bodies.root, self.state))
            yield
            await self._save()
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._bodies.close)

    async def _go_on(self, journal: Journal) -> None:
        studies, keepsake = await to_thread.run_sync(journal.load)
        self.state.restore(studies)
        self._quota.restore(each.accepted_at for study in studies for each in study.history)
        if keepsake is not None:
            self._signer.secret = keepsake.secret
            self._clock.put(keepsake.ahead)
        self._journal = journal
        await self._keep()

    async def _save(self) -> None:
        if self._journal is not None:
            await self._journal.save()

    async def _keep(self) -> None:
        if self._journal is not None:
            await self._journal.keep(Keepsake(self._signer.secret, self._clock.ahead))

    async def _reset(self) -> None:
        self.state.reset()
        self._quota.restore([])
        self._rate.refill()
        self._faults.reset()
        self._signer.renew()
        if self._journal is not None:
            await self._journal.clear()
        await self._keep()


def _documented_errors(config: SimulatorConfig) -> Middleware:
    """What no route answers, and what a route could not answer: as the API documents errors."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            allow = error.headers.get("Allow")
            headers = {"Allow": allow} if allow else None
            return reply_of(Refusal(error.status, error.reason, headers).answer())
        except Exception as error:
            if STARTED in request:
                raise  # aiohttp cuts the connection, as an answer that broke off must be
            return reply_of(refused(error, config, request.match_info.handler.__name__))

    return answer
