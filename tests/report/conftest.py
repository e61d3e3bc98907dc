"""One browser for all tests of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator import browser as browsers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulator.browser import Browser


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsers.running(tmp_path_factory.mktemp("profile")) as started:
        yield started
