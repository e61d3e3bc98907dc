"""When predictions are likely to have ended, learned from those that were seen to end; pure.

What is learned are two things. First, how far down in the order of submission studies end: with
N inference slots and a fair queue, only the first N or so of those still running can end now, and
asking for the others is of no use. Second, how long a study takes from when it came that far.
Both hold, only less sharply, for servers that take studies in another order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["Expectation"]

_REMEMBERED = 96
_LEAST_PLACES = 48
_MARGIN = 1.1  # studies end at most that much further down than they did lately
_TOO_FEW = 1.5  # growth, where a study had ended before it was expected to be able to
_SHRINK = 0.98
_LATE_ONES = 8
_EARLY, _LATE = 0.03, 0.97  # quantiles
_STEPS = 6  # questions between the two
_BACKOFF = 0.5
_LEAST_SHARE = 0.02


@dataclass(slots=True)
class Expectation:
    """What the studies of a run have shown so far.

    Attributes:
        first: Seconds before the first question while nothing is known yet.
        cap: Seconds between two questions for a study that takes longer than expected, at most.
        least: Seconds between two questions for one study, at least. Whoever asks sets it to what
            asking once for each study takes at the rate that is allowed.
    """

    first: float = 1.0
    cap: float = 10.0
    least: float = 0.1
    _durations: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED), repr=False)
    _lately: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED), repr=False)
    _late_ones: deque[bool] = field(default_factory=lambda: deque(maxlen=_LATE_ONES), repr=False)
    _reach: float = _LEAST_PLACES
    _early: float = 0.0
    _late: float = 0.0

    @property
    def places(self) -> int:
        """How many studies, in the order of their submission, may end next."""
        return round(self._reach)

    @property
    def earliest(self) -> float | None:
        """Seconds from when a study came within `places` until it may have ended, if known."""
        return self._early if self._durations else None

    def learn(
        self, *, place: int, running_at: float | None, ended_at: float, lag: float = 0.0
    ) -> None:
        """A study was seen to have ended.

        Args:
            place: How many that were submitted before it were still running.
            running_at: Seconds from when it came within `places` until it last was seen running;
                None where it never was.
            ended_at: The same until it was seen to have ended.
            lag: Seconds that the question waited for its turn.
        """
        was_late = running_at is None and lag < self._step()
        self._learn_places(place, was_late=was_late)
        # It ended somewhere between the two. Where the first question came too late there is no
        # earlier one, and then half a step less makes the next first questions come sooner.
        between = min(ended_at - (running_at or 0.0), self._step() + lag)
        self._durations.append(max(0.0, ended_at - between / 2))
        ordered = sorted(self._durations)
        self._early, self._late = (
            ordered[round(share * (len(ordered) - 1))] for share in (_EARLY, _LATE)
        )

    def learn_place(self, place: int) -> None:
        """A study that was not expected to have ended yet had; ``place`` as for `learn`."""
        self._learn_places(place, was_late=True)

    def _learn_places(self, place: int, *, was_late: bool) -> None:
        self._lately.append(place)
        reach = max(self._lately) * _MARGIN + 2
        self._reach = max(self._reach * _SHRINK, reach, _LEAST_PLACES)
        self._late_ones.append(was_late)
        if sum(self._late_ones) > _LATE_ONES / 2:
            # Most had ended before anybody asked: more end at a time than there are places.
            self._reach *= _TOO_FEW
            self._late_ones.clear()

    def delay(self, elapsed: float, questions: int) -> float:
        """Seconds until the next question for a study.

        Args:
            elapsed: Seconds since it came within `places`.
            questions: How many were asked about it since then.
        """
        if not self._durations:
            return self._bounded(self._step() * 1.5 ** (questions - 1) if questions else self.first)
        if elapsed < self._early or not questions:
            return max(self._early - elapsed, self.least if questions else 0.0)
        step = self._step()
        late = elapsed - self._late - step
        return self._bounded(max(step, late * _BACKOFF))

    def _step(self) -> float:
        """Seconds between two questions while a study may end any moment."""
        if not self._durations:
            return self.first / 2
        spread = (self._late - self._early) / _STEPS
        return self._bounded(max(spread, self._late * _LEAST_SHARE))

    def _bounded(self, seconds: float) -> float:
        return max(self.least, min(seconds, self.cap))
