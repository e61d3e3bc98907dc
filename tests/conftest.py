"""Fixtures every test may use, and what a skip means in CI."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import settings

from milvue_async import MilvueClient
from milvue_async.simulator import Simulator, SimulatorConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# The vendor's OpenAPI document may not be copied into the project, so CI cannot have it.
_ALLOWED_SKIP = "reference document not here"
_POLL_SECONDS = 0.01

# On a busy machine an example may take long, and that is no failure.
settings.register_profile("milvue", deadline=None)
settings.load_profile("milvue")


@pytest.fixture
def anyio_backend() -> str:
    """The package runs on asyncio, because aiohttp does."""
    return "asyncio"


@pytest.fixture
def token() -> str:
    """An API key that belongs to one test."""
    return str(uuid.uuid4())


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Milvue API that listens, and has a prediction as soon as it has the study."""
    async with Simulator(SimulatorConfig(inference_seconds=0)) as started:
        yield started


@pytest.fixture
async def client(simulator: Simulator, token: str) -> AsyncIterator[MilvueClient]:
    """A client of `simulator` that asks again soon."""
    async with MilvueClient(
        simulator.url, token, poll_interval=_POLL_SECONDS, poll_cap=_POLL_SECONDS
    ) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that was skipped has failed: everything it needs is installed there."""
    return _failed_if_skipped_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that was skipped as a whole."""
    return _failed_if_skipped_in_ci((yield))


def _failed_if_skipped_in_ci(report: Report) -> Report:
    is_expected_failure = hasattr(report, "wasxfail")
    if not os.environ.get("CI") or report.outcome != "skipped" or is_expected_failure:
        return report
    longrepr = report.longrepr
    reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    if not reason.removeprefix("Skipped: ").startswith(_ALLOWED_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped, which in CI is a failure: {reason}"
    return report
