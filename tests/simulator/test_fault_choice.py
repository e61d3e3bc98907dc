"""Whom a fault strikes: by route, by chance, each n-th time, so often at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milvue_async.simulator import Fault
from tests.simulator.wire import exchange, head

if TYPE_CHECKING:
    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Api


async def struck(api: Api, requests: int) -> str:
    """Ask for a status so often; ``!`` for each 503, ``.`` for each other answer."""
    path = "/v3/studies/1.2.3/status"
    statuses = [(await exchange(api, head("GET", path))).status for _ in range(requests)]
    return "".join("!" if status == 503 else "." for status in statuses)


@pytest.mark.parametrize(
    ("route", "struck"),
    [
        ("**", {"POST", "status", "study", "json"}),
        ("get_status", {"status"}),
        ("GET /v3/studies/*", {"study"}),
        ("GET /v3/studies/**", {"status", "study"}),
        ("/v3/*/*", {"study", "json"}),
        ("POST **", {"POST"}),
        ("PUT **", set()),
        ("/v3/studies", {"POST"}),
        ("/v3/smart*/1.2", {"json"}),
        ("/v3/smart*/3.*", set()),
    ],
)
async def test_a_fault_strikes_the_requests_of_its_route(
    start_simulator: StartSimulator, route: str, struck: set[str]
) -> None:
    api = await start_simulator(faults=(Fault(kind="status", route=route, status=502),))
    requests = {
        "POST": ("POST", "/v3/studies"),
        "status": ("GET", "/v3/studies/1.2/status"),
        "study": ("GET", "/v3/studies/1.2?inference_command=smarturgences"),
        "json": ("GET", "/v3/smartxpert/1.2"),
    }
    seen = {}
    for name, (method, path) in requests.items():
        seen[name] = (await exchange(api, head(method, path))).status
    assert {name for name, status in seen.items() if status == 502} == struck


async def test_a_fault_strikes_so_often_at_most(start_simulator: StartSimulator) -> None:
    fault = Fault(kind="status", count=2)
    assert await struck(await start_simulator(faults=(fault,)), 5) == "!!..."


async def test_a_fault_strikes_each_so_manieth_request(start_simulator: StartSimulator) -> None:
    fault = Fault(kind="status", every=3)
    assert await struck(await start_simulator(faults=(fault,)), 8) == "..!..!.."
    fault = Fault(kind="status", every=3, count=1)
    assert await struck(await start_simulator(faults=(fault,)), 8) == "..!....."


async def test_a_fault_strikes_its_share_the_same_for_the_same_seed(
    start_simulator: StartSimulator,
) -> None:
    fault = Fault(kind="status", probability=0.5)
    other = Fault(kind="status", probability=0.5, seed=1)
    seen = [
        await struck(await start_simulator(seed=seed, faults=(each,)), 60)
        for seed, each in [(1, fault), (1, fault), (2, fault), (1, other)]
    ]
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert 18 <= seen[0].count("!") <= 42


async def test_a_fault_of_no_probability_never_strikes(start_simulator: StartSimulator) -> None:
    fault = Fault(kind="status", probability=0)
    assert await struck(await start_simulator(faults=(fault,)), 5) == "....."


async def test_of_two_faults_the_first_counts(start_simulator: StartSimulator) -> None:
    faults = (Fault(kind="status", every=2, status=500), Fault(kind="status", status=502))
    api = await start_simulator(faults=faults)
    statuses = [(await exchange(api, head("GET", "/v3/smartxpert/1"))).status for _ in "1234"]
    assert statuses == [502, 500, 502, 500]


async def test_other_routes_are_never_struck(start_simulator: StartSimulator) -> None:
    api = await start_simulator(faults=(Fault(kind="status", status=418),))
    assert (await exchange(api, head("GET", "/v3/nothing"))).status == 404
    local = head("GET", "/control/queue", {"Host": "localhost"})
    assert (await exchange(api, local)).status == 200
