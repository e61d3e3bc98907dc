"""pytest fixtures for test suites of programs that use the Milvue API: a simulator, a client.

pytest loads this module in every run in which the package is installed. It is therefore a module
beside the package, and imports nothing of it before a test asks for a fixture.
"""

from __future__ import annotations

import tomllib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from milvue_async import MilvueClient
    from milvue_async.simulator import SimulatorConfig, ThreadedSimulator

__all__ = ["milvue_client", "milvue_simulator", "milvue_simulator_config"]

_INI = "milvue_simulator"
_ASYNCIO_CLIENT = "_milvue_client_of_asyncio_{}"
_LOOP_SCOPES = ("function", "class", "module", "package", "session")
_FIRST_POLL_SECONDS = 0.02


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the ini option known."""
    parser.addini(
        _INI,
        "fields of the simulator's configuration, one TOML assignment a line",
        type="linelist",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and the client of tests that pytest-asyncio runs."""
    config.addinivalue_line(
        "markers",
        "milvue(**fields): fields of the SimulatorConfig of the test's milvue_simulator; "
        "they win over those of an outer marker, these over the ini option.",
    )
    if pytest_asyncio := config.pluginmanager.get_plugin("asyncio"):
        config.pluginmanager.register(_asyncio_clients(pytest_asyncio))


@pytest.fixture
def milvue_simulator_config(request: pytest.FixtureRequest) -> SimulatorConfig:
    """What the test's simulator is told to do; override it where a marker does not reach.

    Inference takes no time, unless the ini option or a marker says otherwise.
    """
    from milvue_async.simulator import config_from  # noqa: PLC0415  not for every pytest run

    fields: dict[str, Any] = {"inference_seconds": 0, **_ini_fields(request.config)}
    for marker in reversed(list(request.node.iter_markers("milvue"))):
        fields.update(marker.kwargs)
    try:
        return config_from(fields)
    except ValueError as error:
        pytest.fail(f"the configuration of milvue_simulator: {error}", pytrace=False)


@pytest.fixture
def milvue_simulator(milvue_simulator_config: SimulatorConfig) -> Iterator[ThreadedSimulator]:
    """A simulated Milvue API v3 of the test's own: ``url``, ``token``, ``account``.

    It runs in a thread of its own, so that plain tests can use it as well as async ones.
    """
    from milvue_async.simulator import ThreadedSimulator  # noqa: PLC0415  likewise

    with ThreadedSimulator(milvue_simulator_config) as simulator:
        yield simulator


@pytest.fixture
def milvue_client(request: pytest.FixtureRequest) -> MilvueClient:
    """An open `MilvueClient` of the test's simulator, on the event loop of the test.

    The test may be run by anyio's plugin or by pytest-asyncio, in any mode and loop scope.
    """
    client: MilvueClient = request.getfixturevalue(_client_fixture(request))
    return client


def _client_fixture(request: pytest.FixtureRequest) -> str:
    """The name of the fixture that opens the client on the event loop of the test."""
    marker = request.node.get_closest_marker("asyncio")  # in auto mode every async test has it
    if marker is not None and request.config.pluginmanager.has_plugin("asyncio"):
        default = request.config.getini("asyncio_default_test_loop_scope")
        return _ASYNCIO_CLIENT.format(marker.kwargs.get("loop_scope", default))
    if "anyio_backend" in request.fixturenames:
        return _milvue_client_of_anyio.name
    pytest.fail(
        "milvue_client is for async tests that anyio's plugin or pytest-asyncio runs; elsewhere "
        "open MilvueClient(milvue_simulator.url, milvue_simulator.token) yourself",
        pytrace=False,
    )


def _opened() -> Callable[[ThreadedSimulator], AsyncIterator[MilvueClient]]:
    """A fixture function of its own for each use: pytest-asyncio keeps notes on it."""

    async def client_of(milvue_simulator: ThreadedSimulator) -> AsyncIterator[MilvueClient]:
        from milvue_async import MilvueClient  # noqa: PLC0415  likewise

        async with MilvueClient(
            milvue_simulator.url,
            milvue_simulator.token,
            poll_interval=_FIRST_POLL_SECONDS,
            trust_env=False,
        ) as client:
            yield client

    return client_of


_milvue_client_of_anyio = pytest.fixture(_opened(), name="_milvue_client_of_anyio")


def _asyncio_clients(pytest_asyncio: Any) -> ModuleType:
    """A plugin that has a fixture for each loop that pytest-asyncio may run a test on."""
    plugin = ModuleType("milvue_async_asyncio")
    for scope in _LOOP_SCOPES:
        name = _ASYNCIO_CLIENT.format(scope)
        setattr(plugin, name, pytest_asyncio.fixture(_opened(), loop_scope=scope, name=name))
    return plugin


def _ini_fields(config: pytest.Config) -> dict[str, Any]:
    lines = "\n".join(config.getini(_INI))
    try:
        return tomllib.loads(lines)
    except tomllib.TOMLDecodeError as error:
        pytest.fail(f"ini option {_INI}: {error}", pytrace=False)
