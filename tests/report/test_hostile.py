"""What servers and headers say is text on the page: it does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milvue_async.report import build_report
from tests.dicom_files import study_files
from tests.report.support import (
    LANGUAGES,
    Sources,
    entry,
    finding,
    image_of,
    is_open,
    measured,
    open_page,
    urgences,
    write_manifest,
    write_result,
    xpert,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.browser import Browser

UID = "1.2.3.0"
MARKUP = (
    "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
    "<b id=mark>&amp;<!--<script>\u2028\u2029{{7*7}}${7*7}"
)


class TestWhatServersSayIsText:
    @pytest.fixture
    def hostile(self, tmp_path: Path) -> str:
        """A page with markup in every text that a result and the manifest can hold."""
        found = finding(
            MARKUP,
            MARKUP,
            value=MARKUP,
            translation=dict.fromkeys(LANGUAGES, MARKUP),
        )
        result = urgences(UID, MARKUP, version=MARKUP, message=MARKUP, hl7=MARKUP, extra=MARKUP)
        corners = {"top_left": [1, 1], "bottom_right": [9, 9]}
        (source,) = study_files(tmp_path / "sent", instances=1, study_instance_uid=UID)
        image = image_of(source)
        result["findings"] = [found | {"label": "abnormal"}, found]
        result["instances"] = [
            {
                "SOPInstanceUID": image,
                "SeriesInstanceUID": MARKUP,
                "body_parts": [found],
                "findings": [found],
                "bounding_boxes": [found | corners],
            },
            result["instances"][0] | {"SOPInstanceUID": MARKUP},
        ]
        result["report"] = {
            "title": MARKUP,
            "techniques": [MARKUP],
            "results": [{"region": MARKUP, "items": [MARKUP]}],
        }
        measure = measured(MARKUP, 1.0, MARKUP, [[1, 1, 9, 9]])
        measure["translation"] = found["translation"]
        write_manifest(tmp_path, entry(UID, MARKUP, error=MARKUP, results={MARKUP: MARKUP}))
        write_result(tmp_path, result)
        write_result(tmp_path, xpert(UID, measure, image=image))
        return build_report(tmp_path, Sources({UID: {image: source}})).as_uri()

    def test_and_does_nothing(self, browser: Browser, hostile: str) -> None:
        browser.complaints()
        open_page(browser, hostile)
        _, flag, outcome, findings, *_, error = browser.rows("studies")[0]
        assert flag == f"{MARKUP} 0.90"
        assert (outcome, findings, error) == (MARKUP, MARKUP, MARKUP)
        browser.ask("document.querySelector('#studies a').click()")
        browser.until(lambda: is_open(browser))
        told = browser.ask("document.getElementById('study-body').textContent")
        # Flag, outcome, command and its outcome, error; body part; name and label of one finding
        # of the image and two of the study; a measure and its unit; the report; two captions.
        assert told.count(MARKUP) >= 20
        assert MARKUP in browser.text(".bars")
        assert browser.ask("window.hacked") is None
        assert browser.ask("document.querySelectorAll('#mark, img:not(.picture img)').length") == 0
        assert browser.ask("document.querySelectorAll('script:not([type])').length") == 1
        assert browser.complaints() == []

    def test_it_fits_at_360_pixels_all_the_same(self, browser: Browser, hostile: str) -> None:
        open_page(browser, f"{hostile}#{UID}", width=360)
        browser.until(lambda: is_open(browser))
        assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.ask("study.scrollWidth <= study.clientWidth")

    def test_the_policy_lets_in_nothing_but_pictures_from_disk(
        self, browser: Browser, hostile: str
    ) -> None:
        open_page(browser, hostile)
        policy = browser.ask(
            "document.querySelector('meta[http-equiv=Content-Security-Policy]').content"
        )
        allowed = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))
        assert allowed.pop("style-src").startswith("'sha256-")
        assert allowed.pop("script-src").startswith("'sha256-")
        assert allowed == {
            "default-src": "'none'",
            "img-src": "'self' file: data:",
            "base-uri": "'none'",
            "form-action": "'none'",
        }

    def test_a_script_or_style_in_the_page_itself_would_not_run(
        self, browser: Browser, hostile: str
    ) -> None:
        open_page(browser, hostile)
        browser.complaints()
        browser.driver.execute_script(
            "const script = document.createElement('script');"
            "script.textContent = 'window.hacked = 1'; document.body.append(script);"
            "document.body.insertAdjacentHTML('beforeend',"
            ' \'<b style="color: red" onclick="hacked = 1">x</b>\''
            ' + \'<img src=x onerror="hacked = 1"><img src="http://127.0.0.1:9/x">\');'
        )
        blocked: list[str] = []

        def has_blocked_all() -> bool:
            blocked.extend(browser.complaints())
            return len(blocked) >= 4

        browser.until(has_blocked_all)
        assert browser.ask("window.hacked") is None
