"""However a run is left, the rest of it ends, and no task, file or connection stays behind."""

from __future__ import annotations

import asyncio
import gc
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from aiohttp import web

from milvue_async import ConfigurationError, MilvueClient, MilvueError, load_study
from tests.dicom_files import study_files
from tests.recorder import Recorder, recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from milvue_async import OutcomeStream, StudyOutcome
    from milvue_async.sources import StudySource

STUDIES = 40
# The element StudyInstanceUID (0020,000D), as it stands in explicit VR little endian.
FIRST_STUDY = b"\x20\x00\x0d\x00UI\x06\x001.2.1\0"


@pytest.fixture
async def studies(tmp_path: Path) -> list[StudySource]:
    """The first is refused by the API, so that it ends at once; the others never do.

    It is checked already: read beside the others, it might come after four that hold all slots.
    """
    first, *others = [
        study_files(
            tmp_path / str(n), instances=1, study_instance_uid=f"1.2.{n}", rows=8, columns=8
        )
        for n in range(1, STUDIES + 1)
    ]
    return [await load_study(first), *others]


class HalfDead:
    """Refuses study 1.2.1, and answers nobody else."""

    def __init__(self) -> None:
        self.waiting = 0

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        if FIRST_STUDY in body:
            return web.json_response({"message": "not this one"}, status=400)
        self.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.waiting -= 1
        raise AssertionError


@pytest.fixture
async def half_dead() -> AsyncIterator[tuple[Recorder, HalfDead]]:
    api = HalfDead()
    async with recorder(api, reads_bodies=False) as server:
        yield server, api


@pytest.fixture
async def client(half_dead: tuple[Recorder, HalfDead], token: str) -> AsyncIterator[MilvueClient]:
    async with MilvueClient(half_dead[0].url, token, max_uploads=4) as opened:
        yield opened


def tasks_of_the_client() -> set[asyncio.Task[Any]]:
    """All tasks but the test's own, its runner's and those of the server."""
    foreign = re.compile(r"RequestHandler|TestRunner")
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in others if not foreign.search(repr(task.get_coro()))}


async def settle(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not is_so():
            await anyio.lowlevel.checkpoint()


async def first(stream: OutcomeStream) -> StudyOutcome:
    outcome = await anext(stream)
    assert outcome.study_instance_uid == "1.2.1"
    assert outcome.outcome == "rejected"
    assert tasks_of_the_client()
    return outcome


async def test_a_stream_that_is_never_begun_runs_nothing(
    client: MilvueClient, studies: list[StudySource]
) -> None:
    stream = client.process(studies)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    client.process(studies)
    assert tasks_of_the_client() == set()


async def test_closing_a_stream_ends_the_rest_before_it_returns(
    client: MilvueClient, studies: list[StudySource], half_dead: tuple[Recorder, HalfDead]
) -> None:
    stream = client.process(studies)
    await first(stream)
    await settle(lambda: half_dead[1].waiting == 4)
    await stream.aclose()
    assert tasks_of_the_client() == set()
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await settle(lambda: half_dead[1].waiting == 0)


async def test_leaving_the_loop_early_inside_its_block_ends_the_rest(
    client: MilvueClient, studies: list[StudySource]
) -> None:
    async with client.process(studies) as stream:
        async for outcome in stream:
            assert outcome.study_instance_uid == "1.2.1"
            break
    assert tasks_of_the_client() == set()
    async with aclosing(client.process(studies)) as stream:
        await first(stream)
    assert tasks_of_the_client() == set()


async def test_leaving_the_loop_early_without_a_block_ends_the_rest_soon(
    client: MilvueClient, studies: list[StudySource], half_dead: tuple[Recorder, HalfDead]
) -> None:
    async for outcome in client.process(studies):
        assert outcome.study_instance_uid == "1.2.1"
        break
    gc.collect()
    await settle(lambda: tasks_of_the_client() == set())
    await settle(lambda: half_dead[1].waiting == 0)


async def test_an_error_in_the_loop_is_raised_as_itself_and_ends_the_rest(
    client: MilvueClient, studies: list[StudySource]
) -> None:
    async def read() -> None:
        async with client.process(studies) as stream:
            async for _ in stream:
                raise LookupError("of the caller's")

    with pytest.raises(LookupError, match="of the caller's"):
        await read()
    assert tasks_of_the_client() == set()


async def test_closing_the_client_ends_every_stream_of_it(
    half_dead: tuple[Recorder, HalfDead], token: str, studies: list[StudySource]
) -> None:
    async with MilvueClient(half_dead[0].url, token, max_uploads=4) as client:
        held = client.process(studies)
        await first(held)
        async for outcome in client.process([["/missing"], *studies]):
            assert outcome.outcome == "rejected"
            break
    assert tasks_of_the_client() == set()
    with pytest.raises(MilvueError, match="client was closed"):
        await anext(held)


async def test_a_run_that_the_closing_client_cuts_short_is_not_taken_for_a_whole_one(
    half_dead: tuple[Recorder, HalfDead], token: str, studies: list[StudySource]
) -> None:
    errors: list[MilvueError] = []

    async def read(stream: OutcomeStream) -> None:
        try:
            async for _ in stream:
                begun.set()
        except MilvueError as error:
            errors.append(error)

    begun = anyio.Event()
    client = MilvueClient(half_dead[0].url, token)
    async with anyio.create_task_group() as group, client:
        group.start_soon(read, client.process(studies))
        await begun.wait()
    assert "client was closed" in str(errors[0])


@pytest.mark.parametrize("way", ["task", "scope", "deadline"])
async def test_cancelling_the_reader_ends_the_rest_and_is_not_swallowed(
    client: MilvueClient, studies: list[StudySource], way: str
) -> None:
    has_begun = anyio.Event()

    async def read() -> None:
        async for _ in client.process(studies):
            has_begun.set()

    if way == "task":
        reader = asyncio.create_task(read())
        await has_begun.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
    elif way == "scope":
        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await has_begun.wait()
            group.cancel_scope.cancel()
    else:
        with pytest.raises(TimeoutError), anyio.fail_after(0.2):
            await read()
    assert tasks_of_the_client() == set()


async def test_leaving_while_outcomes_wait_to_be_taken_is_no_error(
    client: MilvueClient, tmp_path: Path
) -> None:
    """More have ended than the stream holds: the rest wait to hand theirs over."""
    (tmp_path / "text").write_text("not DICOM")
    ended = 0

    def count(_: object) -> None:
        nonlocal ended
        ended += 1

    stream = client.process([tmp_path / "text"] * 100, on_event=count)
    assert (await anext(stream)).outcome == "rejected"
    await settle(lambda: ended > 50)
    await stream.aclose()
    assert tasks_of_the_client() == set()


async def test_a_slow_reader_slows_the_intake_down(client: MilvueClient, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not DICOM")
    taken = 0

    async def endless() -> AsyncIterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield tmp_path / "text"

    async with client.process(endless(), max_in_flight=10) as stream:
        for _ in range(20):
            await anext(stream)
        await settle(lambda: taken >= 30)
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert taken <= 20 + 16 + 10 + 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_generator_of_studies_is_ended_in_its_own_task(
    client: MilvueClient, studies: list[StudySource], *, fails: bool
) -> None:
    tasks: list[object] = []

    async def generated() -> AsyncIterator[StudySource]:
        try:
            for study in studies:
                tasks.append(asyncio.current_task())
                yield study
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.checkpoint()
            tasks.append(asyncio.current_task())
            if fails:
                raise LookupError("in its cleanup")

    stream = client.process(generated(), max_in_flight=2)
    await first(stream)
    await stream.aclose()
    assert len(tasks) >= 3, "its cleanup has run"
    assert len(set(tasks)) == 1
    assert tasks_of_the_client() == set()


async def test_what_a_callback_raises_at_the_end_of_a_study_reaches_the_reader(
    client: MilvueClient, studies: list[StudySource]
) -> None:
    def fail(event: Any) -> None:
        if event.stage == "ended":
            raise LookupError("of the callback")

    with pytest.raises(LookupError, match="of the callback"):
        await anext(client.process(studies, on_event=fail))
    assert tasks_of_the_client() == set()


async def test_a_run_of_nothing_ends_at_once(client: MilvueClient) -> None:
    assert [outcome async for outcome in client.process([])] == []


@pytest.mark.parametrize("value", [0, -1])
async def test_a_run_without_room_is_refused(client: MilvueClient, value: int) -> None:
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        client.process([], max_in_flight=value)


@pytest.mark.parametrize("kind", ["path", "str", "bytes"])
async def test_one_file_is_no_iterable_of_studies(
    client: MilvueClient, tmp_path: Path, kind: str
) -> None:
    [file] = study_files(tmp_path, instances=1)
    one: Any = {"path": file, "str": str(file), "bytes": file.read_bytes()}[kind]
    with pytest.raises(ConfigurationError, match="iterable of studies"):
        client.process(one)
