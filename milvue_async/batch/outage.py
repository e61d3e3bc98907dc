"""A network that breaks for a while: studies wait for it, and one of them tries now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from milvue_async.batch.events import OutageBegan, OutageEnded
from milvue_async.errors import MilvueError, QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from milvue_async.retrying import Clock

__all__ = ["Outage"]

_FIRST_PAUSE = 1.0
_PAUSE_CAP = 60.0
_ROUNDS = 3


class Outage:
    """Whether the API can be reached, as the uploads of a run have it.

    Args:
        clock: Time and chance.
        patience: Seconds without any upload that succeeds, after which a run gives up.
        report: Told of the beginning and the end.

    Attributes:
        is_over_patience: Whether the run has given up.
    """

    def __init__(
        self, clock: Clock, patience: float, report: Callable[[OutageBegan | OutageEnded], None]
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._report = report
        self._since: float | None = None
        self._failures = 0
        self._successes = 0
        self._turn = anyio.Lock()
        self.is_over_patience = False

    async def admit(self) -> Turn:
        """Wait until an upload may be tried: at once, or during an outage in turn, with pauses."""
        if self._since is None:
            return Turn(self, self._successes, is_probe=False)
        await self._turn.acquire()
        try:
            if self._is_waited_for():
                pause = min(_PAUSE_CAP, _FIRST_PAUSE * 2.0 ** min(self._failures, 16))
                await self._clock.sleep(pause * (0.5 + self._clock.random() / 2))
        except BaseException:
            self._turn.release()
            raise
        return Turn(self, self._successes, is_probe=True)

    def _is_waited_for(self) -> bool:
        """Whether it still lasts, by now that it is this one's turn, and may end."""
        return self._since is not None and not self.is_over_patience

    def release(self) -> None:
        """A probe has ended."""
        self._turn.release()

    def succeeded(self) -> None:
        """An upload went through."""
        self._successes += 1
        self._failures = 0
        since, self._since = self._since, None
        if since is not None:
            self._report(OutageEnded(self._clock.monotonic() - since))

    def allows_again(self, error: MilvueError, rounds: int, successes: int) -> bool:
        """Whether an upload that failed so, ``rounds`` times by now, is tried again.

        Args:
            error: Why it failed.
            rounds: How often it failed while others did not.
            successes: How many had gone through when it began.
        """
        if isinstance(error, QuotaExceededError):
            return False
        if not error.retryable:
            # An answer that was garbage: whether the study arrived can be asked.
            return error.in_doubt and rounds < _ROUNDS
        if self._successes > successes and rounds >= _ROUNDS:
            return False  # it is this study, not the network
        self._failures += 1
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
            self._report(OutageBegan(str(error)))
        self.is_over_patience = now - self._since >= self._patience
        return not self.is_over_patience


class Turn:
    """One try of an upload; ``with`` ends it."""

    def __init__(self, outage: Outage, successes: int, *, is_probe: bool) -> None:
        self._outage = outage
        self._is_probe = is_probe
        self.successes = successes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_probe:
            self._outage.release()
