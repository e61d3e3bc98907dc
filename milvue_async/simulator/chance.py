"""Chance that repeats itself: numbers that follow from a seed and from what they are drawn for.

No generator is kept, so that one study's draw does not hang on which others came before it.
"""

from __future__ import annotations

import hashlib

__all__ = ["chance"]

_BITS = 53  # as many as a float holds exactly


def chance(*what: object) -> float:
    """A number of [0, 1), always the same for the same ``what``, evenly spread over others."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS)
