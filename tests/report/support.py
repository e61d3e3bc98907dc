"""Results folders: of the simulator's answers, and written by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from milvue_async.batch.outputs import manifest_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from milvue_async import MilvueClient
    from tests.simulator.browser import Browser

__all__ = [
    "LANGUAGES",
    "Sources",
    "entry",
    "finding",
    "image_of",
    "is_open",
    "measured",
    "open_page",
    "predict_into",
    "translated",
    "type_into_search",
    "urgences",
    "write_manifest",
    "write_result",
    "xpert",
]

LANGUAGES = ("en", "fr", "es", "de", "it", "pt")


class Sources:
    """A look-up of the images that were sent.

    Args:
        known: StudyInstanceUID to SOPInstanceUID to path.
    """

    def __init__(self, known: Mapping[str, Mapping[str, Path]]) -> None:
        self.known = known

    def __call__(self, uid: str) -> Mapping[str, Path]:
        return self.known.get(uid, {})


async def predict_into(
    output: Path, client: MilvueClient, studies: Iterable[list[Path]], **parameters: Any
) -> Sources:
    """Predict studies for real, and write results and manifest as a run does."""
    lines = []
    known: dict[str, dict[str, Path]] = {}
    async for outcome in client.process(list(studies), output=output, **parameters):
        lines.append(manifest_entry(outcome))
        known[outcome.study_instance_uid] = {image_of(path): path for path in outcome.study}
    write_manifest(output, *lines)
    return Sources(known)


def image_of(path: Path) -> str:
    """The SOPInstanceUID of a file."""
    from milvue_async.dicom import read_header  # noqa: PLC0415  only for real files

    return read_header(path).sop_instance_uid


def write_manifest(output: Path, *entries: Mapping[str, Any] | str) -> None:
    """Lines of a manifest; a str is a line as it stands."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in entries]
    (output / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def write_result(output: Path, result: Mapping[str, Any]) -> None:
    """A JSON result, where a run writes it; which one is seen from its fields."""
    folder = output / result["StudyInstanceUID"]
    folder.mkdir(exist_ok=True)
    name = "smarturgences" if "flag" in result else "smartxpert"
    (folder / f"{name}.json").write_text(json.dumps(result), "utf-8")


def entry(uid: str, outcome: str = "done", **changed: Any) -> dict[str, Any]:
    """A line of the manifest."""
    return {
        "StudyInstanceUID": uid,
        "outcome": outcome,
        "attempts": 1,
        "instances": 2,
        "bytes": 16_000_000,
        "upload_s": 0.5,
        "predict_s": 3.0,
        "collect_s": 0.25,
        "error": None,
        "results": {"smarturgences": outcome},
    } | changed


def translated(name: str) -> dict[str, str]:
    """The name in each language: ``name (fr)`` and so on, but for English."""
    return {key: name if key == "en" else f"{name} ({key})" for key in LANGUAGES}


def finding(
    name: str, label: str = "abnormal", score: float = 0.9, **changed: Any
) -> dict[str, Any]:
    value = {"value": name.lower(), "translation": translated(name), "label": label, "score": score}
    return value | changed


def urgences(
    uid: str, label: str = "abnormal", score: float = 0.9, *, image: str = "", **changed: Any
) -> dict[str, Any]:
    """An answer of smarturgences on one image, with one finding in a box."""
    found = finding("Fracture", label, score)
    corners = {"top_left": [10, 20], "bottom_right": [29, 49]}
    return {
        "StudyInstanceUID": uid,
        "status": "done",
        "version": "1",
        "flag": {"label": label, "score": score},
        "hl7": "",
        "findings": [found, finding("Effusion", "normal", 0.05)],
        "instances": [
            {
                "SOPInstanceUID": image or f"{uid}.1",
                "SeriesInstanceUID": f"{uid}.9",
                "body_parts": [{"value": "hand", "translation": translated("Hand"), "score": 0.8}],
                "findings": [found],
                "bounding_boxes": [found | corners],
            }
        ],
        "report": {
            "title": "Report title",
            "techniques": ["Two views"],
            "results": [{"region": "Right hand", "items": ["A fracture"]}],
        },
    } | changed


def measured(name: str, value: float, unit: str, lines: list[list[int]]) -> dict[str, Any]:
    return {
        "type": "angle" if unit == "deg" else "length",
        "value": name.lower(),
        "translation": translated(name),
        "measure": value,
        "unit": unit,
        "lines": lines,
    }


def xpert(uid: str, *measures: Mapping[str, Any], image: str = "") -> dict[str, Any]:
    """An answer of smartxpert on one image."""
    instance = {
        "SOPInstanceUID": image or f"{uid}.1",
        "SeriesInstanceUID": f"{uid}.9",
        "body_parts": [],
        "measures": list(measures),
    }
    return {"StudyInstanceUID": uid, "status": "done", "version": "1", "instances": [instance]}


def open_page(browser: Browser, url: str, **window: Any) -> None:
    """A page that no other has left anything of."""
    browser.driver.get("about:blank")
    browser.open(url, **window)
    browser.until(lambda: browser.ask("document.readyState === 'complete'"))


def type_into_search(browser: Browser, text: str) -> None:
    field = browser.driver.find_element("id", "search")
    field.clear()
    field.send_keys(text)


def is_open(browser: Browser) -> bool:
    return bool(browser.ask("document.getElementById('study').open"))
