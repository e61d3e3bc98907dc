"""What a simulator is told to do."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  pydantic reads the annotations of SimulatorConfig
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  likewise
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

from milvue_async.simulator.faults import Fault  # noqa: TC001  likewise
from milvue_async.simulator.service_times import Constant, ServiceTime

__all__ = ["Outcome", "SimulatorConfig"]

Outcome = Literal["done", "error", "forbidden", "empty"]

_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class SimulatorConfig:
    """The scripted behaviour of one simulator.

    Attributes:
        inference_seconds: How long the inference of a study takes, in seconds from when it has
            a slot: a number, or a distribution.
        slots: How many studies are inferred at a time; the others wait, first come, first
            served. None: no end.
        json_lag_seconds: Seconds for which the results still say ``running`` after
            ``/status`` said ``done``, as the real API may for a moment.
        outcomes: StudyInstanceUID to how its inference ends.
        shares: Outcome to the share of the other studies, from 0 to 1, that end so; which ones
            follows from ``seed`` and their StudyInstanceUIDs. The rest is ``done``.
        forbidden_commands: Commands that no API key has a licence for.
        api_keys: The keys that are let in; None lets any UUIDv4 in.
        quota_studies: Submissions that are accepted in 24 hours; further ones get a 429. None:
            no end.
        requests_per_second: Requests of the API that are answered; further ones get a 429.
            Those of one second may come at once. None: no end.
        retry_after: Seconds that such a 429 asks to wait, rounded up to whole ones; None sends
            no ``Retry-After``.
        signed_url_seconds: Seconds that a signed URL lives.
        folder: Where received instances, results and the account are kept; the next simulator
            with this folder goes on from there. None: a private temporary folder, removed when
            the simulator stops.
        max_body_bytes: Longest request body in bytes; a longer one gets a 413.
        gzip_parts: Whether DICOM results travel as ``application/dicom+gzip`` parts.
        processes: Worker processes that make results. They use further cores, but take a second
            to start, and where the program is a script it must be guarded by
            ``if __name__ == "__main__"``. 0: threads of this process.
        faults: What goes wrong. Of several that strike the same request, the first one counts.
        seed: What service times, shares and faults are drawn from.

    Raises:
        ValueError: A value is not possible.
    """

    inference_seconds: float | ServiceTime = 2.0
    slots: int | None = None
    json_lag_seconds: float = 0.0
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    shares: Mapping[Outcome, float] = field(default_factory=dict)
    forbidden_commands: frozenset[str] = frozenset()
    api_keys: frozenset[str] | None = field(default=None, repr=False)
    quota_studies: int | None = None
    requests_per_second: float | None = None
    retry_after: float | None = None
    signed_url_seconds: float = 900.0
    folder: Path | None = None
    max_body_bytes: int = 4 * _GIB
    gzip_parts: bool = False
    processes: int = 0
    faults: tuple[Fault, ...] = ()
    seed: int = 0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        unknown = sorted({*self.outcomes.values(), *self.shares} - set(get_args(Outcome)))
        if unknown:
            msg = f"outcome {unknown[0]!r} is not one of {', '.join(get_args(Outcome))}"
            raise ValueError(msg)
        total = round(sum(self.shares.values()), 9)
        if min(self.shares.values(), default=0) < 0 or total > 1:
            msg = "the shares are not from 0 to 1, or come to more than 1 together"
            raise ValueError(msg)
        for name in ("slots", "requests_per_second"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                msg = f"{name} is {value}: it must be above 0, or left out for no end"
                raise ValueError(msg)
        if self.processes < 0:
            msg = f"processes is {self.processes}: it must be 0 or more"
            raise ValueError(msg)
        _ = self.service_time

    @property
    def service_time(self) -> ServiceTime:
        """``inference_seconds`` as a distribution, be it of one value."""
        given = self.inference_seconds
        return Constant(given) if isinstance(given, int | float) else given
