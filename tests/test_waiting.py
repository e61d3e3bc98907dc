"""Waiting for predictions and results: when it asks again, when it ends, and how."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from milvue_async import (
    ConfigurationError,
    MilvueClient,
    PredictionFailedError,
    PredictionForbiddenError,
    PredictionTimeoutError,
)
from milvue_async.protocol.backoff import PollSchedule
from milvue_async.simulator import Simulator, SimulatorConfig
from milvue_async.waiting import poll
from tests.dicom_files import study_files
from tests.fake_clock import FakeClock
from tests.recorder import recorder, saying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Call = Callable[[MilvueClient], Awaitable[Any]]

UID = "1.2.3"
DONE = {"StudyInstanceUID": UID, "status": "done", "version": "1", "instances": []}


def status(value: str) -> dict[str, str]:
    return {"StudyInstanceUID": UID, "status": value, "version": "1"}


async def test_waiting_asks_ever_more_rarely_with_jitter_up_to_a_cap(token: str) -> None:
    clock = FakeClock(chances=[0.0, 0.9])
    answers = [status("running")] * 12 + [status("done")]
    async with (
        recorder(saying(*answers)) as server,
        MilvueClient(server.url, token, clock=clock, poll_interval=2, poll_cap=20) as client,
    ):
        assert (await client.wait_done(UID, timeout=1000)).status == "done"
        assert len(server.requests) == 13
    full = [min(20.0, 2 * 1.5**n) for n in range(12)]
    jittered = [seconds * (1 - 0.25 * (n % 2) * 0.9) for n, seconds in enumerate(full)]
    assert clock.sleeps == pytest.approx(jittered)


async def test_waiting_ends_at_the_deadline_with_a_last_question(token: str) -> None:
    clock = FakeClock()
    async with (
        recorder(saying(status("running"))) as server,
        MilvueClient(server.url, token, clock=clock) as client,
    ):
        with pytest.raises(PredictionTimeoutError, match="within 60 s") as caught:
            await client.wait_done(UID, timeout=60, interval=7)
        assert sum(clock.sleeps) == pytest.approx(60)
        assert len(server.requests) == len(clock.sleeps) + 1
        assert clock.sleeps[0] == 7
    assert caught.value.study_instance_uid == UID
    assert caught.value.route == "GET /v3/studies/{study_instance_uid}/status"


async def test_without_time_there_is_one_question(token: str) -> None:
    async with (
        recorder(saying(status("running"))) as server,
        MilvueClient(server.url, token) as client,
    ):
        with pytest.raises(PredictionTimeoutError):
            await client.wait_done(UID, timeout=0)
        assert len(server.requests) == 1


async def test_a_status_that_is_not_known_is_no_end(token: str) -> None:
    answers = [status("queued"), status("réserve"), status("done")]
    async with (
        recorder(saying(*answers)) as server,
        MilvueClient(server.url, token, clock=FakeClock()) as client,
    ):
        assert (await client.wait_done(UID)).status == "done"
        assert len(server.requests) == 3


@pytest.mark.parametrize(("name", "value"), [("timeout", -1), ("timeout", math.nan)])
async def test_a_time_that_cannot_be_is_refused_before_anything_is_sent(
    name: str, value: float, token: str, tmp_path: Path
) -> None:
    files = study_files(tmp_path)
    options: Any = {name: value}
    async with recorder(saying(DONE)) as server, MilvueClient(server.url, token) as client:
        for call in (client.wait_done, client.get_smartxpert, client.collect):
            with pytest.raises(ConfigurationError, match=name):
                await call(UID, **options)
        with pytest.raises(ConfigurationError, match=name):
            await client.predict(files, **options)
        assert server.requests == []


@pytest.mark.parametrize("interval", [0, -1, math.nan])
async def test_waiting_without_a_pause_is_refused(interval: float, token: str) -> None:
    async with recorder(saying(DONE)) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(ConfigurationError, match="interval"):
            await client.wait_done(UID, interval=interval)
        assert server.requests == []


async def test_a_prediction_that_failed_is_an_error_of_its_own(token: str, tmp_path: Path) -> None:
    config = SimulatorConfig(inference_seconds=0, outcomes={UID: "error"})
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        files = study_files(tmp_path, study_instance_uid=UID)
        await client.post_study(files)
        with pytest.raises(PredictionFailedError) as caught:
            await client.wait_done(UID)
        assert caught.value.study_instance_uid == UID
        with pytest.raises(PredictionFailedError):
            await client.predict(files)


RESULTS: list[Call] = [
    lambda client: client.get_results(UID, "smartxpert"),
    lambda client: client.get_results(UID, "smartxpert", transfer="signed_url"),
    lambda client: client.get_smartxpert(UID),
    lambda client: client.get_smarturgences(UID),
]


@pytest.mark.parametrize("call", RESULTS)
async def test_results_that_still_run_after_the_status_is_done_are_waited_for(
    call: Call, token: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    config = SimulatorConfig(inference_seconds=5, json_lag_seconds=9)
    async with (
        Simulator(config, clock=clock.monotonic) as simulator,
        MilvueClient(simulator.url, token, clock=clock) as client,
    ):
        await client.post_study(study_files(tmp_path, study_instance_uid=UID))
        await client.wait_done(UID)
        await call(client)
        assert clock.now >= 1000 + 5 + 9


@pytest.mark.parametrize("call", RESULTS)
async def test_results_that_never_end_are_late(call: Call, token: str) -> None:
    clock = FakeClock()
    async with (
        recorder(saying(status("running"))) as server,
        MilvueClient(server.url, token, clock=clock) as client,
    ):
        with pytest.raises(PredictionTimeoutError, match="30 s") as caught:
            await call(client)
        assert sum(clock.sleeps) == pytest.approx(30)
        path = server.last.path.replace(UID, "{study_instance_uid}")
        assert caught.value.route == f"GET {path}"


@pytest.mark.parametrize("call", RESULTS)
async def test_a_command_without_a_licence_is_forbidden(
    call: Call, token: str, tmp_path: Path
) -> None:
    config = SimulatorConfig(
        inference_seconds=0, forbidden_commands=frozenset({"smarturgences", "smartxpert"})
    )
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        await client.post_study(study_files(tmp_path, study_instance_uid=UID))
        with pytest.raises(PredictionForbiddenError) as caught:
            await call(client)
        assert caught.value.study_instance_uid == UID


async def test_a_question_that_is_never_answered_is_given_up_after_the_deadline() -> None:
    async def ask() -> str:
        await anyio.sleep_forever()
        return "never"

    answer = await poll(
        ask,
        lambda _: False,
        schedule=PollSchedule(timeout=0.001),
        clock=FakeClock(),
        last_answer_seconds=0.001,
    )
    assert answer is None


async def test_an_answer_that_is_on_its_way_at_the_deadline_may_take_its_time() -> None:
    async def images() -> str:
        for _ in range(50):
            await anyio.sleep(0.001)
        return "images"

    answer = await poll(
        images,
        lambda _: False,
        schedule=PollSchedule(timeout=0.001),
        clock=FakeClock(),
        last_answer_seconds=math.inf,
    )
    assert answer == "images"


async def test_what_a_question_raises_is_raised_as_itself() -> None:
    error = LookupError("no")

    async def ask() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        await poll(ask, lambda _: True, schedule=PollSchedule(), clock=FakeClock())
    assert caught.value is error
