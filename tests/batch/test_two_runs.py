"""A results folder whose ledger is not as a run left it: one clear line, and nothing sent."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async.batch import Event, StageChanged, process_directory
from milvue_async.batch.ledger import LEDGER, Ledger, LedgerError
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import milvue
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from milvue_async import MilvueClient

UIDS = [f"1.2.{number}" for number in range(4)]


@pytest.fixture
def threaded_simulator() -> Iterator[Simulator]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            Simulator(SimulatorConfig(inference_seconds=0))
        ) as running,
    ):
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, uid in enumerate(UIDS):
        study_files(tmp_path / "in", instances=1, study_instance_uid=uid, seed=number)
    return tmp_path / "in"


def newer(ledger: Path) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def overwritten(ledger: Path) -> None:
    content = bytearray(ledger.read_bytes())
    content[:4096] = bytes(4096)
    ledger.write_bytes(content)


def cut(ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes()[:5000])


def foreign(ledger: Path) -> None:
    ledger.unlink()
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE study (name TEXT)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def gone(ledger: Path) -> None:
    ledger.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (newer, "was written by a newer version of milvue-async"),
        (overwritten, "is damaged, or no ledger of milvue-async"),
        (cut, "is damaged, or no ledger of milvue-async"),
        (foreign, "is damaged, or no ledger of milvue-async"),
        (gone, "has a manifest.jsonl but no ledger.sqlite"),
    ],
)
def test_a_ledger_that_does_not_tell_what_was_sent_is_refused_and_left_as_it_is(
    threaded_simulator: Simulator,
    folder: Path,
    tmp_path: Path,
    harm: Callable[[Path], None],
    said: str,
) -> None:
    output = tmp_path / "out"
    arguments = ("process", str(folder), "--output", str(output), "--no-report")
    assert milvue(*arguments, url=threaded_simulator.url).code == 0
    harm(output / LEDGER)
    left = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}
    done = milvue(*arguments, "--send-changed", "--retry-failed", url=threaded_simulator.url)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.splitlines()[-1].startswith("milvue-async: ")
    assert "Traceback" not in done.err
    assert {path: path.read_bytes() for path in output.iterdir() if path.is_file()} == left
    account = threaded_simulator.account
    assert {uid: each.submissions for uid, each in account.items()} == dict.fromkeys(UIDS, 1)


async def test_what_shares_a_commit_that_fails_is_not_taken_for_written(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    async def begin(uid: str) -> None:
        try:
            await ledger.begin(uid, "content", "{}", [], None)
        except LedgerError as error:
            failures.append(error)

    with Ledger(tmp_path, "https://api") as ledger:
        ledger.connection.execute("DROP TABLE study")  # as damage that shows only now
        async with anyio.create_task_group() as group:
            for uid in UIDS:
                group.start_soon(begin, uid)
    assert len(failures) == len(UIDS)


async def test_a_ledger_that_is_damaged_while_it_is_in_use_ends_the_run_before_more_is_sent(
    simulator: Simulator, client: MilvueClient, folder: Path, tmp_path: Path
) -> None:
    def harm(event: Event) -> None:
        if isinstance(event, StageChanged) and event.stage == "upload":
            ledgers[0].connection.execute("DROP TABLE IF EXISTS transition")

    ledgers: list[Ledger] = []
    original = Ledger.submissions

    def noted(ledger: Ledger) -> object:
        ledgers.append(ledger)
        return original(ledger)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "submissions", noted)
        with pytest.raises(LedgerError, match="damaged"):
            await process_directory(client, folder, tmp_path / "out", on_event=harm)
    assert not simulator.account
