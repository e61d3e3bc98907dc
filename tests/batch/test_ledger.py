"""The ledger: on the disk before the next step, one owner, honest about damage."""

from __future__ import annotations

import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from milvue_async import ConfigurationError
from milvue_async.batch.ledger import LEDGER, Ledger, read_entries, read_ledger
from milvue_async.batch.submissions import SentInstance
from tests.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

API = "https://api"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    clock = FakeClock()
    with Ledger(tmp_path, API, now=clock.monotonic) as opened:
        yield opened


def sent(uid: str) -> SentInstance:
    return SentInstance(f"{uid}.1", f"/in/{uid}\udcff", "", 10, 20, "00")


def line(uid: str, outcome: str = "done") -> dict[str, Any]:
    return {"StudyInstanceUID": uid, "outcome": outcome}


async def through(ledger: Ledger, uid: str) -> None:
    number = await ledger.begin(uid, "content", "{}", [sent(uid)], None)
    await ledger.submitted(number)
    ledger.predicted(number)
    await ledger.end(
        number,
        line(uid),
        is_final=True,
        begun=True,
        accepted=True,
        collected="",
        after=lambda: None,
    )


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / LEDGER) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


async def test_every_step_of_a_study_is_there_with_its_time(ledger: Ledger, tmp_path: Path) -> None:
    await through(ledger, "1.2.1")
    ledger.close()
    assert rows(tmp_path, "SELECT state, at FROM transition ORDER BY rowid") == [
        ("submitting", 1000.0),
        ("submitted", 1000.0),
        ("predicted", 1000.0),
        ("ended", 1000.0),
    ]
    assert rows(tmp_path, "SELECT state, outcome, accepted FROM study") == [("ended", "done", 1)]
    assert stat.S_IMODE((tmp_path / LEDGER).stat().st_mode) == 0o600


async def test_a_begun_study_is_known_as_such_by_the_next_run(
    ledger: Ledger, tmp_path: Path
) -> None:
    await ledger.begin("1.2.1", "content", "{}", [sent("1.2.1")], None)
    ledger.close()
    with Ledger(tmp_path, API) as next_one:
        [known] = next_one.submissions()["1.2.1"]
        assert (known.state, known.begun, known.accepted) == ("submitting", True, False)
        assert known.stamps == {("1.2.1.1", 10, 20)}
        assert await next_one.begin("1.2.1", "content", "{}", [sent("1.2.1")], known) == 1
        assert await next_one.begin("1.2.2", "content", "{}", [], None) == 2
    with Ledger(tmp_path, "https://other") as elsewhere:
        assert elsewhere.submissions() == {}


async def test_many_steps_at_once_are_all_there(ledger: Ledger, tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(through, ledger, f"1.2.{number}")
    ledger.close()
    assert rows(tmp_path, "SELECT count(*) FROM transition") == [(400,)]
    assert len(rows(tmp_path, "SELECT DISTINCT id FROM study WHERE state = 'ended'")) == 100


async def test_what_is_to_follow_follows_what_is_on_the_disk(
    ledger: Ledger, tmp_path: Path
) -> None:
    seen: list[int] = []
    await ledger.end_unsent(line("1.2.1", "rejected"), "{}", lambda: seen.append(1))
    await ledger.end_unsent(line("1.2.1", "skipped"), "{}", lambda: seen.append(2))
    assert seen == [1, 2]
    assert ledger.entries() == {"1.2.1": line("1.2.1", "skipped")}
    await through(ledger, "1.2.1")
    assert ledger.entries() == {"1.2.1": line("1.2.1")}, "and the line of before is gone"
    ledger.close()
    with read_ledger(tmp_path) as connection:
        assert connection is not None
        assert read_entries(connection) == {"1.2.1": line("1.2.1")}


def test_a_second_owner_is_refused_and_told_what_to_do(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.submissions() == {}
    with pytest.raises(ConfigurationError, match=r"another milvue-async process .* wait"):
        Ledger(tmp_path, API)
    ledger.close()
    with Ledger(tmp_path, API):
        pass


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" * 300])
def test_what_is_no_ledger_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LEDGER).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ledger\.sqlite is damaged, or no ledger"):
        Ledger(tmp_path, API)
    assert (tmp_path / LEDGER).read_bytes() == content


def test_a_ledger_of_a_newer_version_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    with sqlite3.connect(tmp_path / LEDGER) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        Ledger(tmp_path, API)


async def test_where_it_cannot_be_written_nothing_goes_on(ledger: Ledger) -> None:
    await through(ledger, "1.2.1")
    ledger.connection.execute("PRAGMA max_page_count = 1")  # as a full disk

    async def fill() -> None:
        for number in range(2, 1000):
            await through(ledger, f"1.2.{number}")

    with pytest.raises(OSError, match="No space left") as caught:
        await fill()
    assert caught.value.filename == str(ledger.path)
    assert "1.2.1" in ledger.submissions()


def test_a_folder_without_a_ledger_has_none(tmp_path: Path) -> None:
    with read_ledger(tmp_path) as connection:
        assert connection is None
    assert not list(tmp_path.iterdir())
