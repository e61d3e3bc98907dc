"""How long inference takes: a constant, or a distribution to draw from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

__all__ = ["Constant", "Exponential", "ServiceTime", "Uniform", "parse_service_time"]

_NUMBER = r"\d+(?:\.\d+)?"
_FORMS = f"({_NUMBER})|({_NUMBER})\\.\\.({_NUMBER})|exp:({_NUMBER})"


@dataclass(frozen=True, slots=True)
class Constant:
    """The same time for every study.

    Attributes:
        value: Seconds, 0 or more.
    """

    value: float

    def __post_init__(self) -> None:
        _check(self.value)

    def seconds(self, _: float) -> float:
        """Seconds, whatever was drawn."""
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any time between two bounds.

    Attributes:
        low: Seconds, 0 or more.
        high: Seconds, ``low`` or more.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self.low, self.high)

    def seconds(self, drawn: float) -> float:
        """Seconds for a number drawn from [0, 1)."""
        return self.low + drawn * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Mostly short times, and now and then a long one.

    Attributes:
        mean: Seconds, 0 or more.
    """

    mean: float

    def __post_init__(self) -> None:
        _check(self.mean)

    def seconds(self, drawn: float) -> float:
        """Seconds for a number drawn from [0, 1)."""
        return -self.mean * math.log1p(-drawn)


ServiceTime = Constant | Uniform | Exponential


def parse_service_time(text: str) -> ServiceTime:
    """A service time as options and files write it, in seconds.

    Args:
        text: ``2`` (constant), ``1.5..4.5`` (uniform) or ``exp:3`` (exponential, by its mean).

    Raises:
        ValueError: It is none of these.
    """
    form = re.fullmatch(_FORMS, text.strip())
    if form is None:
        msg = f"service time {text!r} is not seconds such as 2, 1.5..4.5 or exp:3"
        raise ValueError(msg)
    constant, low, high, mean = form.groups()
    if constant:
        return Constant(float(constant))
    return Exponential(float(mean)) if mean else Uniform(float(low), float(high))


def _check(*bounds: float) -> None:
    if not all(0 <= bound < math.inf for bound in bounds) or list(bounds) != sorted(bounds):
        msg = f"service time {'..'.join(map(str, bounds))} is not seconds from 0 up"
        raise ValueError(msg)
