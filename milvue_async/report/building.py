"""Writes the page as it reads the studies: only what its table shows is held of all of them."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from milvue_async.batch.outputs import read_manifest
from milvue_async.files import PartialFile
from milvue_async.report.charts import bars, histogram, in_seconds
from milvue_async.report.findings import Texts
from milvue_async.report.pictures import FOLDER, thumbnails
from milvue_async.report.plain import number
from milvue_async.report.studies import Study, bare_study, read_study
from milvue_async.report.words import words_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["build", "data_script"]

_PAGE = Path(__file__).with_name("page")
_STYLES = ("page.css", "table.css", "study.css")
_SCRIPTS = ("table.js", "study.js")
_NAME = "report.html"
_STAGES = {"upload": "upload_s", "predict": "predict_s", "collect": "collect_s"}
_OUTCOMES = ("done", "empty", "forbidden", "error", "rejected", "timed_out", "skipped")
_FLAGS = ("urgent", "abnormal", "doubt", "normal", "unknown", "out_scope")
_MAX_THREADS = 4
# What would end a script element, begin a comment, or end a line of JavaScript.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def build(output: Path, sources: Callable[[str], Mapping[str, Path]], language: str) -> Path:
    """Write ``report.html`` and the thumbnails it shows; `build_report` has checked what it needs.

    Raises:
        OSError: The page cannot be written.
    """
    entries = read_manifest(output)
    words = words_in(language)
    assets = _assets()
    pages = _pages(language)
    rows: list[tuple[tuple[int, float], list[Any]]] = []
    with PartialFile(output) as partial:

        def write(text: str) -> None:
            partial.write([text.encode("utf-8", "replace")])

        write(pages.get_template("head.html").render(language=language, words=words, **assets))
        for study in _studies(output, entries.values(), sources, language):
            write(data_script(f"study-{study.uid}", study.details))
            rows.append((study.place, study.row))
        rows.sort(key=lambda row: row[0])
        shown = {"rows": [row for _, row in rows], "words": words, "language": language}
        charts = _charts(entries.values(), [row for _, row in rows])
        body = pages.get_template("body.html")
        write(body.render(words=words, data=data_script("page", shown), **charts, **assets))
        return partial.publish(_NAME)


def data_script(name: str, data: Any) -> Markup:
    """A script element that holds JSON, which nothing in the data can end."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # The name is a UID or a constant, the rest has no markup left.
    element = f'<script type="application/json" id="{name}">{text.translate(_ESCAPES)}</script>\n'
    return Markup(element)  # noqa: S704  escaped in the line above


def _pages(language: str) -> Environment:
    pages = Environment(loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined)
    pages.filters["seconds"] = lambda seconds: in_seconds(seconds, language)
    return pages


def _studies(
    output: Path,
    entries: Iterable[Mapping[str, Any]],
    sources: Callable[[str], Mapping[str, Path]],
    language: str,
) -> Iterator[Study]:
    """Each study in its turn, while threads are at work on the next ones."""
    texts = Texts(language)
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    pending: deque[Future[Study]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="report") as pool:
        for entry in entries:
            # A look-up may be bound to the thread that opened its database.
            known = _known(sources, entry["StudyInstanceUID"])
            pending.append(pool.submit(_study, output, entry, known, texts))
            if len(pending) > 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _known(sources: Callable[[str], Mapping[str, Path]], uid: str) -> Mapping[str, Path]:
    try:
        return sources(uid)
    except Exception:  # noqa: BLE001  the caller's look-up; the page is made without it
        return {}


def _study(
    output: Path, entry: Mapping[str, Any], sources: Mapping[str, Path], texts: Texts
) -> Study:
    study = bare_study(entry)
    try:
        study = read_study(output, entry, sources, texts)
        _add_pictures(output, study, sources)
    except Exception:  # noqa: BLE001  one study must not cost the page of all others
        study.details["incomplete"] = True
    return study


def _add_pictures(output: Path, study: Study, sources: Mapping[str, Path]) -> None:
    images = {image["uid"]: image for image in study.details["images"]}
    for uid, made in thumbnails(output, study.uid, images, sources).items():
        image = images.get(uid)
        if image is None:
            image = {"uid": uid}
            study.details["images"].append(image)
        image["picture"] = f"{FOLDER}/{study.uid}/{uid}.jpg"
        image |= {"kind": made.kind, "columns": made.columns, "rows": made.rows}


def _charts(entries: Iterable[Mapping[str, Any]], rows: Iterable[list[Any]]) -> dict[str, Any]:
    known = list(entries)
    rows = list(rows)
    timings = {
        stage: [number(entry.get(name)) or 0.0 for entry in known]
        for stage, name in _STAGES.items()
    }
    made = [histogram(stage, seconds) for stage, seconds in timings.items()]
    return {
        "total": len(known),
        "counts": {
            "outcomes": bars((row[3] for row in rows), _OUTCOMES),
            "flags": bars((row[1] for row in rows), _FLAGS),
        },
        "timings": [chart for chart in made if chart],
    }


@functools.cache
def _assets() -> dict[str, Any]:
    """Style and script of the page, and the Content-Security-Policy that lets in nothing else."""
    style = "".join((_PAGE / name).read_text("utf-8") for name in _STYLES)
    script = "".join((_PAGE / name).read_text("utf-8") for name in _SCRIPTS)
    policy = (
        "default-src 'none'; img-src 'self' file: data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    return {
        "style": Markup(style),  # noqa: S704  a file of this package
        "script": Markup(script),  # noqa: S704  the same
        "policy": Markup(policy),  # noqa: S704  has quotes, and nothing that is not constant
    }


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
