"""One study of a results folder: what is known of it, as plain values for the page."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from milvue_async.protocol.models import SmarturgencesV3, SmartxpertV3
from milvue_async.protocol.uids import is_uid
from milvue_async.report.findings import POSITIVE, Texts, images_in, merged
from milvue_async.report.plain import number, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Study", "bare_study", "read_study"]

_MAX_JSON = 1 << 24  # bytes; that of a study with a hundred images has 2 ** 18
_MAX_IMAGES = 100
_TIMES = ("upload_s", "predict_s", "collect_s")
_FAILED = ("error", "rejected", "timed_out", "forbidden")

Answer = TypeVar("Answer", SmarturgencesV3, SmartxpertV3)


@dataclass(slots=True)
class Study:
    """A study as the page has it.

    Attributes:
        uid: StudyInstanceUID.
        row: What the table shows of it, but its place.
        details: What is shown when it is opened.
        rank: The place of its kind in the table: 0 abnormal, 1 doubt, 2 failed, 3 not sent, 4 the
            rest.
    """

    uid: str
    row: list[Any]
    details: dict[str, Any]
    rank: int = 4

    @property
    def flag(self) -> str:
        """The label of its flag; empty where it has none."""
        return str(self.details["flag"][0]) if self.details.get("flag") else ""

    @property
    def place(self) -> tuple[int, float]:
        """Sorts studies: the graver first."""
        score = self.details["flag"][1] if self.details.get("flag") else None
        return self.rank, -(score or 0) if self.rank < len(POSITIVE) - 1 else 0


def read_study(
    output: Path, entry: Mapping[str, Any], sources: Mapping[str, Path], texts: Texts
) -> Study:
    """Read the results of one study; what cannot be read is noted in ``details["unreadable"]``.

    Args:
        output: The results folder.
        entry: Its line in the manifest.
        sources: SOPInstanceUID to the path of the image that was sent, as far as known.
        texts: In the language of the page.
    """
    uid = entry["StudyInstanceUID"]
    details = _course(entry)
    urgences = _read(output / uid / "smarturgences.json", SmarturgencesV3, details)
    xpert = _read(output / uid / "smartxpert.json", SmartxpertV3, details)
    details |= merged(urgences, texts)
    images = images_in(urgences, xpert, texts) or {image: {} for image in sources if is_uid(image)}
    details["images"] = [{"uid": key} | said for key, said in images.items()][:_MAX_IMAGES]
    details["left_out"] = max(0, len(images) - _MAX_IMAGES)
    return _study(entry, details)


def bare_study(entry: Mapping[str, Any]) -> Study:
    """A study of which no more is said than its line in the manifest does."""
    return _study(entry, _course(entry))


def _study(entry: Mapping[str, Any], details: dict[str, Any]) -> Study:
    study = Study(entry["StudyInstanceUID"], _row(entry, details), details)
    study.rank = _rank(study.flag, text(entry["outcome"]))
    return study


def _course(entry: Mapping[str, Any]) -> dict[str, Any]:
    """How the study fared, by the manifest."""
    results = list(entry["results"].items())[:_MAX_IMAGES]
    return {
        "outcome": text(entry["outcome"]),
        "attempts": number(entry.get("attempts")),
        "times": [number(entry.get(name)) for name in _TIMES],
        "error": text(entry.get("error")),
        "results": [[text(command), text(outcome)] for command, outcome in results],
        "unreadable": [],
        "images": [],
    }


def _row(entry: Mapping[str, Any], details: Mapping[str, Any]) -> list[Any]:
    size, seconds = number(entry.get("bytes")), [time for time in details["times"] if time]
    positive = [found[0] for found in details.get("findings", ()) if found[1] in POSITIVE]
    return [
        entry["StudyInstanceUID"],
        *(details.get("flag") or ["", None]),
        details["outcome"],
        ", ".join(positive[:_MAX_IMAGES]),
        number(entry.get("instances")),
        None if size is None else round(size / 1e6, 2),
        round(sum(seconds), 2) if seconds else None,
        details["error"],
    ]


def _rank(flag: str, outcome: str) -> int:
    if flag in POSITIVE:
        return 1 if flag == "doubt" else 0
    if outcome in _FAILED:
        return 2
    return 3 if outcome == "skipped" else 4


def _read(path: Path, model: type[Answer], details: dict[str, Any]) -> Answer | None:
    """A JSON result; None where there is none, or none that can be read: that is noted."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        status = None
    if status and stat.S_ISREG(status.st_mode) and status.st_size <= _MAX_JSON:
        try:
            answer = model.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            pass
        else:
            if path.parent.name == answer.StudyInstanceUID:
                return answer
    details["unreadable"].append(path.name)
    return None
