"""A simulator beside a program that has no event loop, or another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
import requests

from milvue_async import MilvueClient
from milvue_async.simulator import SimulatorConfig, ThreadedSimulator
from tests import programs
from tests.dicom_files import study_files
from tests.simulator.support import OTHER_KEY, Clock, multipart

if TYPE_CHECKING:
    from pathlib import Path


def submit(simulator: ThreadedSimulator, files: list[Path]) -> str:
    headers = {
        "x-goog-meta-owner": simulator.token,
        "Content-Type": "multipart/related; boundary=frontier",
    }
    url = f"{simulator.url}/v3/studies"
    answer = requests.post(url, data=multipart(files), headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["StudyInstanceUID"])


def test_a_blocking_client_uses_it_from_the_thread_that_started_it(tmp_path: Path) -> None:
    clock = Clock()
    with ThreadedSimulator(SimulatorConfig(inference_seconds=2), clock=clock) as simulator:
        uid = submit(simulator, study_files(tmp_path))
        assert simulator.account[uid].status == "running"
        assert [entry.study_instance_uid for entry in simulator.queue] == [uid]
        clock.now += 2
        assert simulator.account[uid].status == "done"
        assert simulator.queue == []


async def test_a_client_on_another_event_loop_uses_it(tmp_path: Path) -> None:
    with ThreadedSimulator(SimulatorConfig(inference_seconds=0)) as simulator:
        async with MilvueClient(simulator.url, simulator.token) as client:
            result = await client.predict(study_files(tmp_path))
        assert result.outcome == "done"
        assert simulator.account[result.study_instance_uid].submissions == 1


def test_the_account_can_be_read_while_studies_come_in(tmp_path: Path) -> None:
    with ThreadedSimulator() as simulator:

        async def send(seed: int) -> None:
            files = study_files(tmp_path / str(seed), seed=seed)
            await anyio.to_thread.run_sync(submit, simulator, files)

        async def send_all() -> None:
            async with anyio.create_task_group() as tasks:
                for seed in range(10):
                    tasks.start_soon(send, seed)
                while len(simulator.account) < 10:
                    await anyio.lowlevel.checkpoint()

        anyio.run(send_all)
        assert {account.submissions for account in simulator.account.values()} == {1}


def test_its_token_is_one_that_it_lets_in(tmp_path: Path) -> None:
    config = SimulatorConfig(api_keys=frozenset({OTHER_KEY}))
    with ThreadedSimulator(config) as simulator:
        assert simulator.token == OTHER_KEY
        submit(simulator, study_files(tmp_path))


def test_it_runs_no_longer_than_its_with(tmp_path: Path) -> None:
    simulator = ThreadedSimulator()
    for _ in range(2):  # it may be started again, and knows nothing of before
        with pytest.raises(RuntimeError, match="not running"):
            _ = simulator.url
        with simulator:
            url = simulator.url
            assert simulator.account == {}
            submit(simulator, study_files(tmp_path))
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=10)
    with pytest.raises(RuntimeError, match="not running"):
        _ = simulator.account


def test_a_port_that_is_taken_is_an_error() -> None:
    port = programs.free_port()
    with ThreadedSimulator(port=port) as first:
        second = ThreadedSimulator(port=port)
        with pytest.raises(OSError, match="address already in use"):
            second.__enter__()
        with pytest.raises(RuntimeError, match="not running"):
            _ = second.url
        assert first.account == {}
