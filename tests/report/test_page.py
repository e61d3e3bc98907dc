"""The page as people see it: opened from disk, in a real browser."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from milvue_async.report import build_report
from tests.dicom_files import study_files
from tests.report.support import (
    Sources,
    entry,
    image_of,
    is_open,
    measured,
    open_page,
    type_into_search,
    urgences,
    write_manifest,
    write_result,
    xpert,
)
from tests.simulator.test_page import CONTRASTS, LEAST_CONTRAST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.browser import Browser

# WebDriver's names of keys.
TAB, ENTER, ESCAPE, LEFT, RIGHT = "\ue004", "\ue007", "\ue00c", "\ue012", "\ue014"

GRAVE, DOUBT, FAILED, NORMAL, SKIPPED, PLAIN = (f"1.2.3.{number}" for number in range(6))
IN_ORDER = [GRAVE, DOUBT, FAILED, SKIPPED, NORMAL, PLAIN]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of a study of each kind; the grave one has an image of 96 by 64 pixels."""
    output = tmp_path_factory.mktemp("results")
    (source,) = study_files(
        output / "sent", instances=1, rows=64, columns=96, study_instance_uid=GRAVE
    )
    image = image_of(source)
    write_manifest(
        output,
        entry(NORMAL, bytes=3_000_000),
        entry(PLAIN, results={}, bytes=1_000_000),
        entry(SKIPPED, "skipped", upload_s=0, predict_s=0, collect_s=0),
        entry(FAILED, "error", error="the study ended with status error"),
        entry(DOUBT, bytes=2_000_000),
        entry(GRAVE, bytes=20_000_000),
    )
    write_result(output, urgences(NORMAL, "normal", 0.1))
    write_result(output, urgences(DOUBT, "doubt", 0.5))
    write_result(output, urgences(GRAVE, "abnormal", 0.97, image=image))
    angle = measured("Cobb angle", 12.5, "deg", [[1, 2, 30, 4], [1, 2, 30, 40]])
    write_result(output, xpert(GRAVE, angle, image=image))
    return build_report(output, Sources({GRAVE: {image: source}})).as_uri()


def uids(browser: Browser) -> list[str]:
    return [row[0] for row in browser.rows("studies")]


def press(browser: Browser, key: str) -> None:
    browser.driver.switch_to.active_element.send_keys(key)


def sort_by(browser: Browser, column: str) -> None:
    browser.driver.find_element("xpath", f"//table[@id='studies']//button[.='{column}']").click()


class TestTheTable:
    def test_the_grave_come_first_then_doubt_then_failures(
        self, browser: Browser, page: str
    ) -> None:
        open_page(browser, page)
        assert uids(browser) == IN_ORDER
        first, *_ = browser.rows("studies")
        assert first[1:7] == ["abnormal 0.97", "done", "Fracture", "2", "20", "3.75"]
        assert browser.rows("studies")[2][7] == "the study ended with status error"

    def test_it_can_be_searched_by_any_words(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        type_into_search(browser, "FRACT doubt")
        assert uids(browser) == [DOUBT]
        assert browser.text("#shown") == "1 of 6 studies"
        type_into_search(browser, "nobody has this")
        assert uids(browser) == []
        assert browser.ask("document.getElementById('none-found').checkVisibility()")

    def test_a_column_sorts_down_up_and_back_again(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        sort_by(browser, "MB")
        assert [row[5] for row in browser.rows("studies")] == ["20", "16", "16", "3", "2", "1"]
        assert browser.ask("document.querySelector('[aria-sort]').textContent") == "MB"
        sort_by(browser, "MB")
        assert [row[5] for row in browser.rows("studies")] == ["1", "2", "3", "16", "16", "20"]
        sort_by(browser, "MB")
        assert uids(browser) == IN_ORDER

    def test_what_is_not_there_is_sorted_last(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        sort_by(browser, "Seconds")
        sort_by(browser, "Seconds")
        assert uids(browser)[-1] == SKIPPED

    def test_counts_and_timings_are_drawn(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        bars = browser.ask("[...document.querySelectorAll('.bars tr')].map(row => row.innerText)")
        assert [bar.split() for bar in bars][:3] == [
            ["done", "4"],
            ["error", "1"],
            ["skipped", "1"],
        ]
        figures = browser.ask("[...document.querySelectorAll('figure')].map(one => one.innerText)")
        assert [text.split("\n")[0] for text in figures] == [
            "Timings: Upload",
            "Timings: Prediction",
            "Timings: Collection",
        ]
        assert "median 3 s" in figures[1]
        assert browser.ask("document.querySelectorAll('.histogram rect').length") == 3


class TestOneStudy:
    def open_study(self, browser: Browser, page: str, uid: str = GRAVE) -> None:
        open_page(browser, f"{page}#{uid}")
        browser.until(lambda: is_open(browser))

    def test_a_link_with_its_uid_opens_it(self, browser: Browser, page: str) -> None:
        self.open_study(browser, page, DOUBT)
        assert browser.text("#study-title") == f"Study {DOUBT}"

    def test_its_image_is_shown_with_marks_where_they_belong(
        self, browser: Browser, page: str
    ) -> None:
        self.open_study(browser, page)
        browser.until(lambda: browser.ask("document.querySelector('.picture img').naturalWidth"))
        places = browser.ask("""(() => {
          const at = (node) => {
            const { left, top, width, height } = node.getBoundingClientRect();
            return [left, top, width, height];
          };
          const picture = at(document.querySelector('.picture img'));
          return [picture, at(document.querySelector('.picture rect.is-abnormal'))];
        })()""")
        (left, top, width, height), box = places
        scale = width / 96
        assert height / 64 == pytest.approx(scale, rel=0.02)
        expected = [left + 10 * scale, top + 20 * scale, 20 * scale, 30 * scale]
        assert box == pytest.approx(expected, abs=2.5)
        assert browser.ask("document.querySelectorAll('.picture line.measure').length") == 2
        texts = browser.ask(
            "[...document.querySelectorAll('.picture text')].map(t => t.textContent)"
        )
        assert texts == ["Fracture 0.97", "Cobb angle 12.5°"]

    def test_captions_lie_in_the_picture(self, browser: Browser, page: str) -> None:
        self.open_study(browser, page)
        assert browser.ask("""[...document.querySelectorAll('.picture text')].every((text) => {
          const inner = text.getBoundingClientRect();
          const outer = text.ownerSVGElement.getBoundingClientRect();
          return inner.left >= outer.left - 2 && inner.right <= outer.right + 2;
        })""")

    def test_marks_can_be_hidden(self, browser: Browser, page: str) -> None:
        self.open_study(browser, page)
        style = "getComputedStyle(document.querySelector('.picture svg')).visibility"
        assert browser.ask(style) == "visible"
        browser.driver.find_element("id", "marks").click()
        assert browser.ask(style) == "hidden"

    def test_findings_and_report_are_told(self, browser: Browser, page: str) -> None:
        self.open_study(browser, page)
        shown = browser.text("#study-body")
        for words in ("Effusion", "Report title", "Two views", "Right hand", "A fracture", "Hand"):
            assert words in shown

    def test_without_results_it_says_so(self, browser: Browser, page: str) -> None:
        self.open_study(browser, page, PLAIN)
        assert "No results" in browser.text("#study-body")

    def test_a_uid_the_page_does_not_have_is_said_to_be_unknown(
        self, browser: Browser, page: str
    ) -> None:
        self.open_study(browser, page, "1.9.9")
        assert browser.text("#study-body") == "This page has no study 1.9.9."

    def test_a_click_anywhere_in_its_row_opens_it(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        browser.driver.find_element("css selector", "#studies tbody tr td:nth-child(5)").click()
        browser.until(lambda: is_open(browser))
        assert browser.ask("location.hash") == f"#{GRAVE}"

    def test_keys_open_it_go_on_to_the_next_and_close_it(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        browser.ask("document.getElementById('search').focus()")
        for _ in range(9):  # eight columns, then the first study
            press(browser, TAB)
        press(browser, ENTER)
        browser.until(lambda: is_open(browser))
        press(browser, RIGHT)
        browser.until(lambda: browser.text("#study-title") == f"Study {DOUBT}")
        press(browser, LEFT)
        browser.until(lambda: browser.text("#study-title") == f"Study {GRAVE}")
        press(browser, RIGHT)
        browser.until(lambda: browser.text("#study-title") == f"Study {DOUBT}")
        press(browser, ESCAPE)
        # The browser says that it has closed a little after it has.
        browser.until(lambda: browser.ask("document.activeElement.textContent") == DOUBT)
        assert not is_open(browser)
        assert browser.ask("location.href") == page

    def test_going_back_in_the_browser_closes_it(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        browser.ask("document.querySelector('#studies a').click()")
        browser.until(lambda: is_open(browser))
        browser.driver.back()
        browser.until(lambda: not is_open(browser))

    def test_previous_and_next_follow_the_table_as_it_is_shown(
        self, browser: Browser, page: str
    ) -> None:
        open_page(browser, page)
        type_into_search(browser, "done")
        sort_by(browser, "MB")
        browser.ask("document.querySelector('#studies a').click()")
        browser.until(lambda: is_open(browser))
        assert browser.ask("document.getElementById('previous').disabled")
        seen = [browser.text("#study-title")]
        while not browser.ask("document.getElementById('next').disabled"):
            browser.ask("document.getElementById('next').click()")
            browser.until(lambda: browser.text("#study-title") != seen[-1])
            seen.append(browser.text("#study-title"))
        assert seen == [f"Study {uid}" for uid in (GRAVE, NORMAL, DOUBT, PLAIN)]


class TestForWhomItIs:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [360, 1400])
    def test_it_fits_and_can_be_read(
        self, browser: Browser, page: str, width: int, scheme: str
    ) -> None:
        open_page(browser, page, width=width, scheme=scheme)
        assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
        contrasts: dict[str, float] = browser.ask(CONTRASTS)
        assert {"Studies", "abnormal", GRAVE} <= contrasts.keys()
        assert {text for text, ratio in contrasts.items() if ratio < LEAST_CONTRAST} == set()

    @pytest.mark.parametrize("width", [360, 1400])
    def test_a_study_fits_too(self, browser: Browser, page: str, width: int) -> None:
        open_page(browser, f"{page}#{GRAVE}", width=width)
        browser.until(lambda: is_open(browser))
        sizes = browser.ask("[study.scrollWidth, study.clientWidth, study.offsetWidth, innerWidth]")
        assert sizes[0] <= sizes[1]
        assert sizes[2] <= sizes[3]

    def test_what_it_is_is_told_to_assistive_technology(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        told = browser.roles()
        headings = [name for role, name in told if role == "heading"]
        assert headings == ["Results of the studies", "Overview", "Outcomes", "Flags", "Studies"]
        assert ("searchbox", "Search") in told
        assert ("table", "Studies") in told
        assert {name for role, name in told if role == "link"} == set(IN_ORDER)
        open_page(browser, f"{page}#{GRAVE}")
        browser.until(lambda: is_open(browser))
        told = browser.roles()
        assert ("dialog", f"Study {GRAVE}") in told
        assert ("image", "Image 1") in told

    def test_it_warns_that_it_holds_patient_data(self, browser: Browser, page: str) -> None:
        open_page(browser, page)
        assert browser.text(".notice").startswith("This page holds patient data.")

    def test_it_speaks_the_language_asked_for(self, browser: Browser, tmp_path: Path) -> None:
        write_manifest(tmp_path, entry(GRAVE))
        write_result(tmp_path, urgences(GRAVE))
        url = build_report(tmp_path, language="fr").as_uri()
        open_page(browser, f"{url}#{GRAVE}")
        browser.until(lambda: is_open(browser))
        assert browser.ask("document.documentElement.lang") == "fr"
        assert browser.rows("studies")[0][1:4] == ["anormal 0,90", "terminé", "Fracture (fr)"]
        assert "Effusion (fr)" in browser.text("#study-body")

    def test_it_asks_no_network_and_has_nothing_to_complain_of(
        self, browser: Browser, page: str
    ) -> None:
        browser.driver.get("about:blank")
        browser.complaints()
        browser.requested()
        open_page(browser, f"{page}#{GRAVE}")
        browser.until(lambda: browser.ask("document.querySelector('.picture img').naturalWidth"))
        assert browser.complaints() == []
        requested = browser.requested()
        assert any(url.endswith(".jpg") for url in requested)
        assert [url for url in requested if not url.startswith(("file:", "data:", "about:"))] == []

    def test_a_picture_that_is_gone_leaves_the_words(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        (source,) = study_files(tmp_path / "sent", instances=1, study_instance_uid=GRAVE)
        image = image_of(source)
        write_manifest(tmp_path, entry(GRAVE))
        write_result(tmp_path, urgences(GRAVE, image=image))
        url = build_report(tmp_path, Sources({GRAVE: {image: source}})).as_uri()
        shutil.rmtree(tmp_path / "report")
        open_page(browser, f"{url}#{GRAVE}")
        browser.until(lambda: is_open(browser))
        assert "Fracture" in browser.text("#study-body")
        browser.complaints()
