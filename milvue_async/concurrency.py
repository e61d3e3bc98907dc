"""Tasks side by side whose first failure is raised as itself, not wrapped in a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["first_failure", "first_of", "for_each"]

T = TypeVar("T")


async def for_each(action: Callable[[T], Awaitable[None]], values: Iterable[T]) -> None:
    """Run an action for every value at once; the first failure ends the others.

    Raises:
        Exception: The first that an action raised.
    """
    failures: list[Exception] = []

    async def run(value: T) -> None:
        try:
            await action(value)
        except Exception as error:  # noqa: BLE001  raised below, as itself
            failures.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for value in values:
            group.start_soon(run, value)
    if failures:
        raise failures[0]


async def first_of(*actions: Callable[[], Awaitable[object]]) -> None:
    """Run actions side by side until one of them has ended; the others are cancelled."""

    async def run(action: Callable[[], Awaitable[object]]) -> None:
        await action()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for action in actions:
            group.start_soon(run, action)


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of the exceptions that task groups have wrapped, as itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
