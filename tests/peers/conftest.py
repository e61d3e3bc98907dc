"""The peers that the tests of this folder talk to, each started once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.peers.azurite import Azurite, run_azurite
from tests.peers.orthanc import Orthanc, OrthancRest, run_orthanc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="session")
def started_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that takes what it can read."""
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as started:
        yield started


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client, independent of the one that is tested."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def orthanc(
    started_orthanc: Orthanc, http: aiohttp.ClientSession
) -> AsyncIterator[OrthancRest]:
    """That Orthanc, empty before and after the test."""
    rest = OrthancRest(http, started_orthanc.url)
    yield rest
    await rest.clear()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """An Azurite with one container."""
    with run_azurite(tmp_path_factory.mktemp("azurite")) as started:
        yield started
