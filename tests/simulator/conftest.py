"""A simulator of the test's own, and a plain client for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import pytest

from milvue_async.simulator import Simulator, SimulatorConfig
from tests.simulator.support import Api, Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class StartSimulator(Protocol):
    """Starts a simulator whose config has these fields; it stops after the test."""

    async def __call__(self, **config: Any) -> Api: ...


@pytest.fixture
def clock() -> Clock:
    """The clock of every simulator that the test starts."""
    return Clock()


@pytest.fixture
async def start_simulator(clock: Clock) -> AsyncIterator[StartSimulator]:
    """Starts simulators on free ports."""
    async with AsyncExitStack() as stack:

        async def start(**config: Any) -> Api:
            simulator = Simulator(SimulatorConfig(**config), clock=clock)
            await stack.enter_async_context(simulator)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Api(session, simulator)

        yield start


@pytest.fixture
async def api(start_simulator: StartSimulator) -> Api:
    """A simulator as it comes: inference takes two seconds of the clock."""
    return await start_simulator()
