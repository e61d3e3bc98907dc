"""Time that passes only when somebody sleeps, and then at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FakeClock"]


@dataclass
class FakeClock:
    """A clock for a client, and by its `monotonic` for a simulator too.

    Attributes:
        now: Seconds.
        chances: What chance says, in turn and over again.
        sleeps: Seconds of each sleep so far.
    """

    now: float = 1000.0
    chances: Sequence[float] = (0.0,)
    sleeps: list[float] = field(default_factory=list)
    _drawn: int = 0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()

    def random(self) -> float:
        self._drawn += 1
        return self.chances[(self._drawn - 1) % len(self.chances)]
