"""Fixtures every test may use."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The package runs on asyncio, because aiohttp does."""
    return "asyncio"
