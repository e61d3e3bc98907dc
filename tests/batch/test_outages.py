"""What stops a run for a while, or for good: the network, the quota, the key."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from yarl import URL

from milvue_async import MilvueClient, RunLimits, process_directory
from milvue_async.batch import (
    Event,
    IntakeStopped,
    OutageBegan,
    OutageEnded,
    StageChanged,
    StudyEnded,
)
from milvue_async.simulator import Fault, Simulator, SimulatorConfig
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STUDIES = 6


class HurriedClock:
    """The machine's time, on which pauses between tries are short."""

    def monotonic(self) -> float:
        return anyio.current_time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(min(seconds, 0.05))

    def random(self) -> float:
        return 0.5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(STUDIES):
        study_files(tmp_path / "in", instances=1, study_instance_uid=f"1.2.{number}", seed=number)
    return tmp_path / "in"


@asynccontextmanager
async def api(token: str, **config: object) -> AsyncIterator[tuple[Simulator, MilvueClient]]:
    settings = SimulatorConfig(inference_seconds=0, **config)  # type: ignore[arg-type]  # by name
    async with (
        Simulator(settings) as simulator,
        MilvueClient(
            simulator.url,
            token,
            max_uploads=2,
            clock=HurriedClock(),
            retry_attempts=2,
            poll_interval=0.05,
        ) as client,
    ):
        yield simulator, client


@pytest.mark.parametrize("kind", ["reset_before_body", "reset_after_body", "status"])
async def test_studies_wait_for_a_network_that_breaks(
    token: str, folder: Path, tmp_path: Path, kind: str
) -> None:
    fault = Fault(kind=kind, route="post_study", count=15)  # type: ignore[arg-type]  # one of them
    events: list[Event] = []
    async with api(token, faults=(fault,)) as (simulator, client):
        summary = await process_directory(client, folder, tmp_path / "out", on_event=events.append)
        assert {account.submissions for account in simulator.account.values()} == {1}
    assert summary.outcomes == {"done": STUDIES}
    outages = [event for event in events if isinstance(event, OutageBegan | OutageEnded)]
    # A study that arrived although its answer was lost is no outage once its status says so.
    if kind != "reset_after_body":
        assert outages
    assert [type(event) for event in outages] == [OutageBegan, OutageEnded] * (len(outages) // 2)


async def test_a_network_that_stays_away_ends_the_intake_and_the_same_command_goes_on(
    token: str, folder: Path, tmp_path: Path
) -> None:
    fault = Fault(kind="reset_before_body", route="post_study", count=8)
    events: list[Event] = []
    limits = RunLimits(patience=0.0)
    output = tmp_path / "out"
    async with api(token, faults=(fault,)) as (simulator, client):
        first = await process_directory(
            client, folder, output, limits=limits, on_event=events.append
        )
        assert set(first.outcomes) == {"error", "skipped"}
        assert sum(isinstance(event, IntakeStopped) for event in events) == 1
        runs = 1
        while not first.is_complete:
            runs += 1
            first = await process_directory(client, folder, output)
        assert runs <= 4
        assert {account.submissions for account in simulator.account.values()} == {1}


async def test_a_used_up_quota_stops_the_intake_and_what_is_under_way_ends(
    token: str, folder: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    output = tmp_path / "out"
    async with api(token, quota_studies=3) as (simulator, client):
        first = await process_directory(client, folder, output, on_event=events.append)
        assert first.outcomes["done"] == 3
        assert first.outcomes["skipped"] >= 1
        [stopped] = [event for event in events if isinstance(event, IntakeStopped)]
        assert "429" in stopped.reason
        ended = [event.outcome for event in events if isinstance(event, StudyEnded)]
        skipped = [outcome for outcome in ended if outcome.outcome == "skipped"]
        assert all("not sent: the run stopped" in str(outcome.error) for outcome in skipped)
        assert len(simulator.account) == 3
    async with api(token) as (_, client):
        # Another server stands in for the next day: what was done there is not done here.
        assert (await process_directory(client, folder, output)).is_complete


async def test_a_refused_key_is_tried_for_few_studies_and_tells_nobody_its_value(
    token: str, folder: Path, tmp_path: Path
) -> None:
    other = "22209633-26ea-4b35-a197-e55c375dc36f"
    async with api(token, api_keys=frozenset({other})) as (simulator, client):
        summary = await process_directory(client, folder, tmp_path / "out")
        assert set(summary.outcomes) == {"error", "skipped"}
        assert not simulator.account
    for path in (tmp_path / "out").iterdir():
        if path.is_file():
            assert token.encode() not in path.read_bytes()


@pytest.mark.parametrize("stage", ["upload", "wait"])
async def test_a_server_that_is_gone_for_a_while_loses_nothing(
    token: str, folder: Path, tmp_path: Path, stage: str
) -> None:
    """Whatever is under way is cut, then connections are refused, then all is as before."""
    config = SimulatorConfig(inference_seconds=0.5, folder=tmp_path / "api")
    is_time, is_missed = anyio.Event(), anyio.Event()
    seen: list[Event] = []

    def watch(event: Event) -> None:
        seen.append(event)
        if isinstance(event, StageChanged) and event.stage == stage:
            is_time.set()
        elif isinstance(event, OutageBegan):
            is_missed.set()

    before = Simulator(config)
    await before.start()
    url = URL(before.url)
    async with MilvueClient(
        str(url), token, max_uploads=2, clock=HurriedClock(), retry_attempts=2, poll_interval=0.05
    ) as client:

        async def restart() -> None:
            await is_time.wait()
            await before.stop()
            await is_missed.wait()
            await after.start()

        after = Simulator(config, port=url.port or 0)
        try:
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    group.start_soon(restart)
                    summary = await process_directory(
                        client, folder, tmp_path / "out", on_event=watch
                    )
            if not summary.is_complete:  # results that were cut are not in doubt: they are there
                assert set(summary.outcomes) == {"done", "error"}
                summary = await process_directory(client, folder, tmp_path / "out")
        finally:
            await after.stop()
    assert summary.outcomes == {"done": STUDIES}
    assert [each.submissions for each in after.account.values()] == [1] * STUDIES
    assert any(isinstance(event, OutageEnded) for event in seen)
