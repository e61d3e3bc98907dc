"""One scheduler asks for every study in flight, on a clock that tests hold in their hands."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from milvue_async import (
    MilvueClient,
    MilvueError,
    NotFoundError,
    PredictionFailedError,
    PredictionTimeoutError,
)
from milvue_async.polling import PollScheduler
from milvue_async.simulator import Simulator, SimulatorConfig
from milvue_async.simulator.service_times import Uniform
from tests.dicom_files import study_files
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

UID = "1.2.{}".format


@asynccontextmanager
async def waiting_for(
    config: SimulatorConfig,
    token: str,
    folder: Path,
    studies: int,
    *,
    timeout: float = 600.0,
    rate: float = 200.0,
) -> AsyncIterator[tuple[Simulator, FakeClock, dict[str, MilvueError | None]]]:
    """Studies that were sent, and how each ended, once all have; on a fake clock."""
    clock = FakeClock(chances=(0.0, 0.3, 0.6, 0.9))
    ends: dict[str, MilvueError | None] = {}
    ended = anyio.Event()
    async with (
        Simulator(config, clock=clock.monotonic) as simulator,
        MilvueClient(simulator.url, token, clock=clock) as client,
    ):
        scheduler = PollScheduler(client.transport, timeout=timeout, rate=rate)
        for number in range(studies):
            files = study_files(folder, instances=1, study_instance_uid=UID(number), seed=number)
            await client.post_study(files)
        clock.sleeps.clear()
        async with anyio.create_task_group() as group:

            def add(uid: str) -> None:
                async def on_end(error: MilvueError | None) -> None:
                    assert uid not in ends
                    ends[uid] = error
                    if len(ends) == studies:
                        ended.set()

                scheduler.add(uid, on_end)

            for number in range(studies):
                add(UID(number))
            group.start_soon(scheduler.run)
            with anyio.fail_after(60):
                await ended.wait()
            group.cancel_scope.cancel()
        assert len(scheduler) == 0
        yield simulator, clock, ends


async def test_every_study_ends_once_after_few_questions(token: str, tmp_path: Path) -> None:
    config = SimulatorConfig(inference_seconds=Uniform(1.5, 4.5), slots=8)
    async with waiting_for(config, token, tmp_path, 40) as (simulator, _, ends):
        assert ends == {UID(number): None for number in range(40)}
        polls = [account.status_polls for account in simulator.account.values()]
        assert min(polls) >= 1
        assert sum(polls) / 40 < 15


async def test_each_failure_is_that_of_its_study(token: str, tmp_path: Path) -> None:
    config = SimulatorConfig(inference_seconds=1, outcomes={UID(1): "error"})
    async with waiting_for(config, token, tmp_path, 3) as (_, _, ends):
        assert [type(ends[UID(number)]) for number in range(3)] == [
            type(None),
            PredictionFailedError,
            type(None),
        ]
        assert ends[UID(1)] is not None
        assert ends[UID(1)].study_instance_uid == UID(1)  # type: ignore[union-attr]  # as above


async def test_what_never_ends_is_given_up_after_the_timeout_and_not_before(
    token: str, tmp_path: Path
) -> None:
    config = SimulatorConfig(inference_seconds=10_000)
    async with waiting_for(config, token, tmp_path, 60, timeout=100.0) as (_, clock, ends):
        assert {type(error) for error in ends.values()} == {PredictionTimeoutError}
        assert 100 <= sum(clock.sleeps) < 140


async def test_a_queue_that_moves_is_no_standstill(token: str, tmp_path: Path) -> None:
    """One slot, 10 s each: the last of six waits 60 s, though 15 s is all one may take."""
    config = SimulatorConfig(inference_seconds=10, slots=1)
    async with waiting_for(config, token, tmp_path, 6, timeout=15.0) as (_, _, ends):
        assert set(ends.values()) == {None}


async def test_a_refusal_pauses_all_questions_for_as_long_as_the_server_asks(
    token: str, tmp_path: Path
) -> None:
    clock_free = SimulatorConfig(inference_seconds=3, requests_per_second=2, retry_after=7)
    async with waiting_for(clock_free, token, tmp_path, 12) as (_, clock, ends):
        assert set(ends.values()) == {None}
        assert max(clock.sleeps) >= 6.9


async def test_a_study_that_the_server_does_not_know_is_asked_for_three_times(
    simulator: Simulator, client: MilvueClient
) -> None:
    scheduler = PollScheduler(client.transport, timeout=60)
    async with anyio.create_task_group() as group:
        group.start_soon(scheduler.run)
        with pytest.raises(NotFoundError):
            await scheduler.wait("1.2.3")
        group.cancel_scope.cancel()
    assert scheduler.questions == 3
    assert not simulator.account


async def test_no_more_questions_are_asked_a_second_than_allowed(
    token: str, tmp_path: Path
) -> None:
    config = SimulatorConfig(inference_seconds=5)
    async with waiting_for(config, token, tmp_path, 30, rate=4.0) as (simulator, clock, ends):
        assert set(ends.values()) == {None}
        polls = sum(account.status_polls for account in simulator.account.values())
        assert polls / 4 <= sum(clock.sleeps) + 1
