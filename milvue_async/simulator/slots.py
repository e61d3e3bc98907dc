"""The queue in front of inference: so many slots, first come, first served.

No timer runs. As each study's service time is known when it comes in, so is when it will start
and end: at once, or when the first slot is free.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Place", "Slots"]


@dataclass(frozen=True, slots=True)
class Place:
    """When and where one study is inferred.

    Attributes:
        slot: Which slot, from 0; None where there is no end of them.
        entered_at: When it came in, seconds of the simulator's clock.
        started_at: When it leaves the queue.
        finished_at: When it is done.
    """

    slot: int | None
    entered_at: float
    started_at: float
    finished_at: float


class Slots:
    """Inference slots, and until when each is taken.

    Args:
        count: How many; None for no end of them.
    """

    def __init__(self, count: int | None) -> None:
        self._free_at = None if count is None else [0.0] * count

    def take(self, now: float, seconds: float) -> Place:
        """A place for a study that comes in now and needs so many seconds."""
        if self._free_at is None:
            return Place(None, now, now, now + seconds)
        slot = self._free_at.index(min(self._free_at))
        started_at = max(now, self._free_at[slot])
        place = Place(slot, now, started_at, started_at + seconds)
        self.restore(place)
        return place

    def restore(self, place: Place) -> None:
        """Take a place that was given before; one in a slot that is no more takes nothing."""
        if self._free_at is not None and place.slot is not None and place.slot < len(self._free_at):
            self._free_at[place.slot] = max(self._free_at[place.slot], place.finished_at)
