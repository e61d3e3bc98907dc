"""The page at ``/``, as people see it: in a real browser."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import requests
from aiohttp import web
from anyio.from_thread import start_blocking_portal

from milvue_async.simulator import Fault, SimulatorConfig, ThreadedSimulator
from milvue_async.simulator.pages import Pages
from tests import programs
from tests.dicom_files import study_files
from tests.simulator import browser as browsers
from tests.simulator.support import Clock, multipart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from milvue_async.simulator.config import Outcome
    from tests.simulator.browser import Browser

MULTIPART = "multipart/related; boundary=frontier"
MARKUP = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script><b id=mark>&amp;"
MARKUP_PATH = "/<b/id=mark>*"
LIVE = "Live, refreshed every second"

# The least contrast between a text and what is behind it (WCAG 2.2, criterion 1.4.3).
LEAST_CONTRAST = 4.5
CONTRASTS = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return channels(colour)[3] === 0 ? ground(element.parentElement) : colour;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = {};
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && element.checkVisibility()) {
      const tones = [luminance(getComputedStyle(element).color), luminance(ground(element))];
      tones.sort((one, other) => other - one);
      found[walker.currentNode.data] = (tones[0] + 0.05) / (tones[1] + 0.05);
    }
  }
  return found;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsers.running(tmp_path_factory.mktemp("profile")) as started:
        yield started


def send(simulator: ThreadedSimulator, folder: Path, uid: str, **query: str) -> None:
    files = study_files(folder / uid, study_instance_uid=uid)
    answer = requests.post(
        f"{simulator.url}/v3/studies",
        params=query,
        data=multipart(files),
        headers={"Content-Type": MULTIPART, "x-goog-meta-owner": simulator.token},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


def ask_status(simulator: ThreadedSimulator, uid: str) -> None:
    headers = {"x-goog-meta-owner": simulator.token}
    url = f"{simulator.url}/v3/studies/{uid}/status"
    assert requests.get(url, headers=headers, timeout=10).status_code == 200


def counts(browser: Browser) -> dict[str, str]:
    script = "[...document.querySelectorAll('#counts > div')].map(each => "
    pairs = browser.ask(script + "[...each.children].map(part => part.textContent))")
    return dict(pairs)


@pytest.fixture
def simulator(clock: Clock) -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(SimulatorConfig(inference_seconds=100, slots=1), clock=clock) as started:
        yield started


class TestWhatItShows:
    def test_an_empty_simulator_says_so(
        self, browser: Browser, simulator: ThreadedSimulator
    ) -> None:
        browser.open(simulator.url)
        browser.until(lambda: browser.text("#connection") == LIVE)
        assert set(counts(browser).values()) == {"0"}
        assert browser.text("#slots") == "0 of 1"
        for table in ("waiting", "faults", "studies"):
            assert browser.rows(table) == []
            assert browser.ask(f"document.getElementById('{table}-empty').checkVisibility()")

    def test_a_study_appears_and_changes_without_a_reload(
        self, browser: Browser, simulator: ThreadedSimulator, clock: Clock, tmp_path: Path
    ) -> None:
        browser.open(simulator.url)
        browser.until(lambda: browser.text("#connection") == LIVE)
        browser.ask("window.notReloaded = true")

        send(simulator, tmp_path, "1.2.3", siteId="north")
        browser.until(lambda: browser.rows("studies"))
        ((uid, stage, instances, size, sent, polls, deliveries, _, query),) = browser.rows(
            "studies"
        )
        assert (uid, stage, instances, sent) == ("1.2.3", "running", "2", "1")
        assert (polls, deliveries, query) == ("0", "0", "siteId: north")
        assert size.endswith(" kB")
        assert counts(browser)["running"] == "1"
        assert browser.text("#slots") == "1 of 1"

        clock.now += 100
        ask_status(simulator, "1.2.3")
        browser.until(lambda: browser.rows("studies")[0][1] == "done")
        browser.until(lambda: browser.rows("studies")[0][5] == "1")
        assert (counts(browser)["running"], counts(browser)["done"]) == ("0", "1")
        assert browser.ask("window.notReloaded")

    def test_the_queue_is_shown_in_its_order_with_how_long_each_study_waits(
        self, browser: Browser, simulator: ThreadedSimulator, clock: Clock, tmp_path: Path
    ) -> None:
        for uid in ("1.2.1", "1.2.2", "1.2.3"):
            send(simulator, tmp_path, uid)
            clock.now += 20
        browser.open(simulator.url)
        browser.until(lambda: browser.rows("waiting"))
        assert browser.rows("waiting") == [["1", "1.2.2", "40 s"], ["2", "1.2.3", "20 s"]]
        assert [row[:2] for row in browser.rows("studies")] == [
            ["1.2.3", "waiting"],
            ["1.2.2", "waiting"],
            ["1.2.1", "running"],
        ]
        clock.now += 45
        browser.until(lambda: browser.rows("waiting") == [["1", "1.2.3", "1 min 5 s"]])

    def test_faults_are_shown_with_how_often_they_struck(
        self, browser: Browser, simulator: ThreadedSimulator, tmp_path: Path
    ) -> None:
        send(simulator, tmp_path, "1.2.3")
        faults = ["get_status:delay:seconds=0,count=3", "GET /v3/smartxpert/*:status:status=502"]
        put_faults(simulator, faults)
        ask_status(simulator, "1.2.3")
        browser.open(simulator.url)
        browser.until(lambda: browser.rows("faults"))
        assert browser.rows("faults") == [
            ["delay", "get_status", "1", "2"],
            ["status 502", "GET /v3/smartxpert/*", "0", "no end"],
        ]

    def test_it_says_when_it_has_lost_the_simulator_and_goes_on_when_that_is_back(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        port = programs.free_port()
        with ThreadedSimulator(port=port) as simulator:
            send(simulator, tmp_path, "1.2.3")
            browser.open(simulator.url)
            browser.until(lambda: browser.rows("studies"))
        browser.until(lambda: browser.text("#connection").startswith("Not up to date"))
        assert browser.rows("studies")
        with ThreadedSimulator(port=port):
            browser.until(lambda: browser.text("#connection") == LIVE)
            assert browser.rows("studies") == []


def put_faults(simulator: ThreadedSimulator, faults: list[str]) -> None:
    answer = requests.put(f"{simulator.url}/control/faults", json=faults, timeout=10)
    assert answer.status_code == 200, answer.text


class TestWhatClientsSayIsText:
    def assert_harmless(self, browser: Browser) -> None:
        assert browser.ask("window.hacked") is None
        assert browser.ask("document.querySelectorAll('img, #mark, script:not([src])').length") == 0
        assert browser.ask("document.title") == "Milvue API v3 simulator"

    def test_in_queries_and_faults(
        self, browser: Browser, simulator: ThreadedSimulator, tmp_path: Path
    ) -> None:
        send(simulator, tmp_path, "1.2.3", organizationId=MARKUP, **{MARKUP: MARKUP})
        put_faults(simulator, [f"{MARKUP_PATH}:delay"])
        browser.open(simulator.url)
        browser.until(lambda: browser.rows("studies") and browser.rows("faults"))
        assert browser.rows("studies")[0][-1] == f"organizationId: {MARKUP}, {MARKUP}: {MARKUP}"
        assert browser.rows("faults")[0][1] == MARKUP_PATH
        self.assert_harmless(browser)

    def test_in_every_field_whatever_the_simulator_lets_in(
        self, browser: Browser, hostile_url: str
    ) -> None:
        browser.open(hostile_url)
        browser.until(lambda: browser.rows("studies"))
        assert browser.rows("waiting")[0][1] == MARKUP
        assert browser.rows("faults")[0][:2] == [MARKUP, MARKUP]
        assert browser.rows("studies")[0][:2] == [MARKUP, MARKUP]
        self.assert_harmless(browser)

    def test_a_script_in_the_page_itself_would_not_run(
        self, browser: Browser, simulator: ThreadedSimulator
    ) -> None:
        browser.open(simulator.url)
        browser.driver.execute_script(
            "const script = document.createElement('script');"
            "script.textContent = 'window.hacked = 1'; document.body.append(script);"
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"hacked = 1\">');"
        )
        browser.until(lambda: len(browser.complaints()) > 1)
        assert browser.ask("window.hacked") is None


@pytest.fixture
def hostile_url() -> Iterator[str]:
    """The page, from a server whose overview has markup in every text."""
    study = {"study_instance_uid": MARKUP, "stage": MARKUP, "sent_with": {MARKUP: MARKUP}}
    numbers = ("instances", "bytes", "submissions", "status_polls", "deliveries", "first_seen")
    overview = {
        "counts": {"done": MARKUP},
        "slots": {"busy": 0},
        "waiting": [{"study_instance_uid": MARKUP, "seconds": 0}],
        "faults": [{"kind": MARKUP, "route": MARKUP, "strikes": MARKUP, "left": MARKUP}],
        "studies": [{**study, **dict.fromkeys(numbers, 0), "missing": 0}],
        "left_out": MARKUP,
    }

    async def get_overview(_: web.Request) -> web.Response:
        return web.json_response(overview)

    routes = [web.get("/control/overview", get_overview), *Pages().table()]
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(routes)) as url,
    ):
        yield url


@asynccontextmanager
async def served(routes: list[web.RouteDef]) -> AsyncIterator[str]:
    """These routes on a free port, by its URL."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadedSimulator]:
    """A simulator with a study in each stage, but `receiving`, and with faults."""
    folder = tmp_path_factory.mktemp("full")
    clock = Clock()
    endings: tuple[Outcome, ...] = ("error", "forbidden", "empty", "done")
    uids = [f"1.2.826.0.1.3680043.8.498.{10**36 + number}" for number in range(6)]
    config = SimulatorConfig(
        inference_seconds=10,
        slots=1,
        outcomes=dict(zip(uids, endings, strict=False)),
        faults=(Fault(kind="status", route="get_status", count=2), Fault(kind="hang", every=1000)),
    )
    with ThreadedSimulator(config, clock=clock) as started:
        for uid in uids:
            send(started, folder, uid, organizationId="clinic")
        clock.now += 45
        yield started


class TestForWhomItIs:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [360, 1400])
    def test_it_fits_and_can_be_read(
        self, browser: Browser, full: ThreadedSimulator, width: int, scheme: str
    ) -> None:
        browser.open(full.url, width=width, scheme=scheme)
        browser.until(lambda: browser.rows("studies"))
        assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
        contrasts: dict[str, float] = browser.ask(CONTRASTS)
        assert {"Studies", "error", "Study Instance UID", LIVE} <= contrasts.keys()
        assert {text for text, ratio in contrasts.items() if ratio < LEAST_CONTRAST} == set()

    @pytest.mark.parametrize("width", [360, 1400])
    def test_headings_and_tables_are_told_to_assistive_technology(
        self, browser: Browser, full: ThreadedSimulator, width: int
    ) -> None:
        browser.open(full.url, width=width)
        browser.until(lambda: browser.rows("studies"))
        told = browser.roles()
        headings = [name for role, name in told if role == "heading"]
        assert headings == ["Milvue API v3 simulator", "Now", "Queue", "Faults", "Studies"]
        assert all(name for role, name in told if role in ("table", "meter", "columnheader"))
        assert [role for role, _ in told].count("table") == 3
        studies = [name for role, name in told if role == "rowheader"]
        assert set(studies) == set(full.account)
        assert browser.ask("document.documentElement.lang") == "en"

    def test_it_asks_nobody_but_the_simulator_and_has_nothing_to_complain_of(
        self, browser: Browser, full: ThreadedSimulator
    ) -> None:
        browser.complaints()
        browser.requested()
        browser.open(full.url)
        browser.until(lambda: browser.rows("studies"))
        assert browser.complaints() == []
        requested = browser.requested()
        assert f"{full.url}/control/overview" in requested
        assert [url for url in requested if not url.startswith(f"{full.url}/")] == []
