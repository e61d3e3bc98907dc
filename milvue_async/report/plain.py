"""Values from servers and files, made plain: finite numbers, texts of a bounded length."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["number", "text"]

_MAX_NUMBER = 1e15
_MAX_TEXT = 4000  # characters; a report's lines have some hundred
_DECIMALS = 4


def number(value: Any) -> float | int | None:
    """A finite number of a sane size, floats rounded to four decimals; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if abs(value) < _MAX_NUMBER else None
    return round(value, _DECIMALS) if math.isfinite(value) and abs(value) < _MAX_NUMBER else None


def text(value: Any) -> str:
    """A str of at most 4,000 characters; empty for what is no str."""
    if not isinstance(value, str):
        return ""
    return value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
