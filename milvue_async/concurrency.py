"""Tasks side by side whose first failure is raised as itself, not wrapped in a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["for_each"]

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
