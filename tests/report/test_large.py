"""A page of 5,000 studies."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from milvue_async.report import build_report
from tests.report.support import (
    entry,
    is_open,
    open_page,
    type_into_search,
    urgences,
    write_manifest,
    write_result,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.browser import Browser

COUNT = 5000
OPENS_WITHIN_SECONDS = 3.0
MEGABYTES = 12


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 5,000 studies of two images each."""
    output = tmp_path_factory.mktemp("large")
    labels = ("normal", "abnormal", "doubt", "normal", "normal")
    studies = [f"1.2.840.99999.{10**20 + number}" for number in range(COUNT)]
    write_manifest(output, *(entry(uid) for uid in studies))
    for number, uid in enumerate(studies):
        result = urgences(uid, labels[number % len(labels)], number / COUNT)
        result["findings"] *= 3
        result["instances"].append(result["instances"][0] | {"SOPInstanceUID": f"{uid}.2"})
        write_result(output, result)
    return build_report(output)


class TestFiveThousandStudies:
    def test_open_soon_and_are_found_at_once(self, browser: Browser, large: Path) -> None:
        assert large.stat().st_size < MEGABYTES * 1e6
        browser.driver.get("about:blank")
        began = perf_counter()
        open_page(browser, large.as_uri())
        assert perf_counter() - began < OPENS_WITHIN_SECONDS
        assert browser.text("#shown") == "5,000 of 5,000 studies"
        assert len(browser.rows("studies")) == 100
        type_into_search(browser, "abnormal")
        browser.until(lambda: browser.text("#shown") == "1,000 of 5,000 studies")

    def test_further_rows_come_as_one_scrolls(self, browser: Browser, large: Path) -> None:
        open_page(browser, large.as_uri())
        browser.ask("document.getElementById('more').scrollIntoView()")
        browser.until(lambda: len(browser.rows("studies")) >= 200)

    def test_the_last_one_is_opened_by_its_uid(self, browser: Browser, large: Path) -> None:
        last = f"1.2.840.99999.{10**20 + COUNT - 1}"
        open_page(browser, f"{large.as_uri()}#{last}")
        browser.until(lambda: is_open(browser))
        assert "Fracture" in browser.text("#study-body")
