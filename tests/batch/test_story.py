"""The night of a radiology department: an export of many studies, and a machine that reboots."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async.simulator import Simulator, SimulatorConfig, Uniform
from tests.cli_support import command, environment, milvue
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECONDS = 900.0


@pytest.mark.parametrize(
    "studies", [150, pytest.param(10_000, marks=pytest.mark.campaign)], ids=["small", "whole"]
)
def test_in_the_morning_the_same_command_finishes_the_rest(tmp_path: Path, studies: int) -> None:
    folder, output = tmp_path / "export", tmp_path / "results"
    for number in range(studies):
        study_files(
            folder / f"{number // 100:03}" / str(number),
            instances=1,
            rows=16,
            columns=16,
            study_instance_uid=f"1.2.826.0.1.3680043.10.511.{number}",
        )
    arguments = ("process", str(folder), "--output", str(output))
    config = SimulatorConfig(inference_seconds=Uniform(0.5, 1.5), slots=100, processes=2)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(config)) as simulator,
    ):
        with subprocess.Popen(  # noqa: S603  this package's own command
            command(*arguments), env=environment(simulator.url), stderr=subprocess.PIPE
        ) as running:
            _until(lambda: _delivered(simulator) >= studies // 3)
            running.send_signal(signal.SIGKILL)  # the machine reboots
            running.communicate()
        lines = (output / "manifest.jsonl").read_text().count("\n")
        assert 0 < lines < studies
        morning = milvue(*arguments, url=simulator.url, seconds=_SECONDS)
        assert morning.code == 0, morning.err
        accounts = simulator.account
    assert len(accounts) == studies
    assert {account.submissions for account in accounts.values()} == {1}
    delivered = [set(account.deliveries) for account in accounts.values()]
    assert all(commands == {"smarturgences", "smartxpert"} for commands in delivered)
    text = (output / "manifest.jsonl").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert {entry["outcome"] for entry in entries} == {"done"}
    assert len({entry["StudyInstanceUID"] for entry in entries}) == len(entries) == studies
    results = [path.parent.parent.name for path in output.rglob("smarturgences/*.dcm")]
    assert set(results) == set(accounts)
    assert (output / "report.html").stat().st_size > 0
    assert not list(output.rglob("*.partial"))


def _delivered(simulator: Simulator) -> int:
    return sum(bool(account.json_deliveries) for account in simulator.account.values())


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.05)
