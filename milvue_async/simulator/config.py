"""What a simulator is told to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Outcome", "SimulatorConfig"]

Outcome = Literal["done", "error", "forbidden", "empty"]

_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class SimulatorConfig:
    """The scripted behaviour of one simulator.

    Attributes:
        inference_seconds: Seconds from the last byte of a study to the end of its inference.
        json_lag_seconds: Seconds for which the results still say ``running`` after
            ``/status`` said ``done``, as the real API may for a moment.
        outcomes: StudyInstanceUID to how its inference ends; a study not named here is ``done``.
        forbidden_commands: Commands that no API key has a licence for.
        api_keys: The keys that are let in; None lets any UUIDv4 in.
        quota_studies: Submissions that are accepted in all; further ones get a 429. None: no end.
        retry_after: Seconds that such a 429 asks to wait, rounded up to whole ones; None sends
            no ``Retry-After``.
        signed_url_seconds: Seconds that a signed URL lives.
        folder: Where received instances and results are kept. None: a private temporary
            folder, removed when the simulator stops.
        max_body_bytes: Longest request body in bytes; a longer one gets a 413.
        gzip_parts: Whether DICOM results travel as ``application/dicom+gzip`` parts.

    Raises:
        ValueError: An outcome is not one of the four.
    """

    inference_seconds: float = 2.0
    json_lag_seconds: float = 0.0
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    forbidden_commands: frozenset[str] = frozenset()
    api_keys: frozenset[str] | None = field(default=None, repr=False)
    quota_studies: int | None = None
    retry_after: float | None = None
    signed_url_seconds: float = 900.0
    folder: Path | None = None
    max_body_bytes: int = 4 * _GIB
    gzip_parts: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.outcomes.values()) - set(get_args(Outcome)))
        if unknown:
            msg = f"outcome {unknown[0]!r} is not one of {', '.join(get_args(Outcome))}"
            raise ValueError(msg)
