"""A headless Chromium, driven by WebDriver, and what it is asked about a page."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Browser", "running"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_SECONDS = 20.0
_LOGS = {"browser": "ALL", "performance": "ALL"}


@dataclass(frozen=True)
class Browser:
    """Asks the page that is open.

    Attributes:
        driver: Of selenium.
    """

    driver: Any

    def open(self, url: str, *, width: int = 1400, scheme: str = "light") -> None:
        """Open a page in a window of this width, in a light or dark colour scheme."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})
        self.driver.get(url)

    def ask(self, script: str) -> Any:
        """What a JavaScript expression is on the page."""
        return self.driver.execute_script(f"return {script};")

    def text(self, selector: str) -> str:
        return str(self.ask(f"document.querySelector({json.dumps(selector)}).textContent"))

    def rows(self, table: str) -> list[list[str]]:
        """The cells of a table that is shown, row by row."""
        script = (
            f"document.getElementById({json.dumps(table)}).hidden ? [] : "
            f"[...document.querySelectorAll({json.dumps(f'#{table} tbody tr')})]"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )
        found: list[list[str]] = self.ask(script)
        return found

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something is so, for as long as a page may need on a busy machine.

        Raises:
            selenium.common.exceptions.TimeoutException: It has not become so.
        """
        from selenium.webdriver.support.ui import WebDriverWait  # noqa: PLC0415  where it is there

        WebDriverWait(self.driver, _PATIENCE_SECONDS, poll_frequency=0.05).until(lambda _: holds())

    def complaints(self) -> list[str]:
        """What the browser has complained of on its console since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requested(self) -> list[str]:
        """URLs that it has asked for since it was asked last."""
        events = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def roles(self) -> list[tuple[str, str]]:
        """Role and name of everything that the page tells assistive technology."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored")
        ]


@contextlib.contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """A browser; the test is skipped where Chromium or selenium is not installed.

    Args:
        profile: An empty folder for what it keeps.
    """
    install = "apt-get install chromium chromium-driver"
    chromium = programs.require("chromium", install=install)
    chromedriver = programs.require("chromedriver", install=install)
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", _LOGS)
    service = webdriver.ChromeService(executable_path=str(chromedriver))
    with webdriver.Chrome(options=options, service=service) as driver:
        yield Browser(driver)
