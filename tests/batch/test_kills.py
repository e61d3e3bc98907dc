"""A run that is killed, at each commit of its ledger and at random: nothing lost, nothing twice."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async import MilvueClient, process_directory
from milvue_async.batch.ledger import LEDGER
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import TOKEN, command, environment
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal

    from milvue_async import RunSummary
    from milvue_async.simulator import StudyAccount

STUDIES = [f"1.2.826.0.1.3680043.10.7.{number}" for number in range(3)]


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as opened:
        yield opened


@pytest.fixture
def simulator(portal: BlockingPortal) -> Iterator[Simulator]:
    config = SimulatorConfig(inference_seconds=0)  # one question is then enough
    with portal.wrap_async_context_manager(Simulator(config)) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, uid in enumerate(STUDIES):
        study_files(tmp_path / "in", instances=1, study_instance_uid=uid, seed=number)
    return tmp_path / "in"


def go_on(portal: BlockingPortal, url: str, folder: Path, output: Path) -> RunSummary:
    async def run() -> RunSummary:
        async with MilvueClient(url, TOKEN, poll_interval=0.02, poll_cap=0.1) as client:
            return await process_directory(client, folder, output)

    return portal.call(run)


def states(output: Path) -> dict[str, str]:
    """The state of each study, as the killed run left it."""
    if not (output / LEDGER).exists():
        return {}
    connection = sqlite3.connect(output / LEDGER)
    try:
        return dict(connection.execute("SELECT study_instance_uid, state FROM study"))
    except sqlite3.OperationalError:
        return {}
    finally:
        connection.close()


def check(account: dict[str, StudyAccount], output: Path) -> None:
    assert {uid: each.submissions for uid, each in account.items()} == dict.fromkeys(STUDIES, 1)
    for uid in STUDIES:
        for product in ("smarturgences", "smartxpert"):
            assert (output / uid / f"{product}.json").stat().st_size > 0
            assert list((output / uid / product).glob("*.dcm"))
            assert account[uid].deliveries[product]["dicomweb"] >= 1
    assert not list(output.rglob("*.partial"))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "commit",
    [*range(1, 6), *(pytest.param(late, marks=pytest.mark.campaign) for late in range(6, 9))],
)
def test_killed_at_any_commit_the_same_command_finishes(
    portal: BlockingPortal,
    simulator: Simulator,
    folder: Path,
    tmp_path: Path,
    *,
    commit: int,
    moment: str,
) -> None:
    output = tmp_path / "out"
    arguments = ["process", str(folder), "--output", str(output), "--no-report"]
    killed = subprocess.run(  # noqa: S603  this package's own command
        [sys.executable, "-m", "tests.batch.killed_run", str(commit), moment, *arguments],
        env=environment(simulator.url),
        check=False,
        capture_output=True,
        timeout=60,
    )
    # Commits are shared, so that their number differs from run to run; the first always come.
    assert killed.returncode in ({-signal.SIGKILL} if commit <= 4 else {-signal.SIGKILL, 0})
    left = states(output)
    polls = {uid: each.status_polls for uid, each in simulator.account.items()}
    summary = go_on(portal, simulator.url, folder, output)
    assert (summary.is_complete, sum(summary.outcomes.values())) == (True, 3)
    account = simulator.account
    check(account, output)
    for uid, state in left.items():
        asked = account[uid].status_polls - polls.get(uid, 0)
        if state in {"predicted", "ended"}:
            assert asked == 0, "what was done stays done"
        elif uid in polls:
            assert asked == 1, "of what is in doubt, and of what waits, the status is asked once"


@pytest.mark.parametrize(
    "seed",
    [*range(4), *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(4, 54))],
)
def test_killed_at_a_random_moment_the_same_command_finishes(
    portal: BlockingPortal, simulator: Simulator, folder: Path, tmp_path: Path, seed: int
) -> None:
    output = tmp_path / "out"
    arguments = ("process", str(folder), "--output", str(output), "--no-report")
    chance = random.Random(seed)
    for _ in range(2):
        with subprocess.Popen(  # noqa: S603  this package's own command
            command(*arguments), env=environment(simulator.url), stderr=subprocess.DEVNULL
        ) as running:
            time.sleep(chance.uniform(0.3, 2.0))  # the moment is what is drawn
            running.send_signal(signal.SIGKILL)
    summary = go_on(portal, simulator.url, folder, output)
    assert summary.is_complete
    check(simulator.account, output)
