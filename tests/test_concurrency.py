"""Actions side by side: all of them end, and the first failure is raised as itself."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from milvue_async.concurrency import for_each


async def test_all_actions_run_at_once() -> None:
    started: set[int] = set()
    all_started = anyio.Event()

    async def action(value: int) -> None:
        started.add(value)
        if len(started) == 50:
            all_started.set()
        await all_started.wait()

    with anyio.fail_after(10):
        await for_each(action, range(50))
    await for_each(action, [])


async def test_the_first_failure_is_raised_as_itself_when_the_others_have_ended() -> None:
    error = LookupError("first")
    ended: list[int] = []

    async def action(value: int) -> None:
        if value == 2:
            raise error
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(value)

    with pytest.raises(LookupError) as caught:
        await for_each(action, range(5))
    assert caught.value is error
    assert caught.value.__context__ is None
    assert sorted(ended) == [0, 1, 3, 4]


async def test_a_failure_while_the_others_end_hides_no_first_one() -> None:
    async def action(value: int) -> None:
        if value == 0:
            raise LookupError("first")
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("while ending")

    with pytest.raises(LookupError, match="first"):
        await for_each(action, range(3))


@pytest.mark.parametrize("way", ["task", "scope"])
async def test_a_cancellation_ends_all_and_is_not_swallowed(way: str) -> None:
    running = 0
    reached = anyio.Event()

    async def action(_: int) -> None:
        nonlocal running
        running += 1
        if running == 3:
            reached.set()
        try:
            await anyio.sleep_forever()
        finally:
            running -= 1

    if way == "task":
        task = asyncio.create_task(for_each(action, range(3)))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(for_each, action, range(3))
            await reached.wait()
            group.cancel_scope.cancel()
    assert running == 0
