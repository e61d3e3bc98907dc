"""Results as one page: ``report.html``, beside a folder of thumbnails.

It needs the extra ``report`` (Jinja2, numpy, pillow), which is imported when a page is made.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from milvue_async.batch.outputs import MANIFEST
from milvue_async.errors import ConfigurationError
from milvue_async.report.words import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["build_report", "no_sources"]

_NEEDED = {"jinja2": "Jinja2", "numpy": "numpy", "PIL": "pillow"}


def no_sources(_study_instance_uid: str) -> Mapping[str, Path]:
    """Sources of a study where none are known."""
    return {}


def build_report(
    output: Path,
    sources: Callable[[str], Mapping[str, Path]] = no_sources,
    *,
    language: str = "en",
) -> Path:
    """Write the page of a results folder, and the thumbnails it shows; blocking.

    A thumbnail that is there and newer than what it is made of is kept. A study that cannot be
    shown in full is shown as far as it goes, and says so.

    Args:
        output: A results folder: ``manifest.jsonl``, and results in folders by StudyInstanceUID.
        sources: From a StudyInstanceUID to the images that were sent, SOPInstanceUID to path, as
            far as they are known. It is called in the calling thread.
        language: Of the page and of the findings: ``en``, ``fr``, ``es``, ``de``, ``it``, ``pt``.

    Returns:
        ``report.html`` in ``output``.

    Raises:
        ConfigurationError: ``output`` holds no manifest, the extra is not installed, or the
            language is not one of those.
        OSError: It cannot be written.
    """
    if language not in LANGUAGES:
        raise ConfigurationError(f"language is {language!r}: give one of {', '.join(LANGUAGES)}")
    missing = [name for module, name in _NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        raise ConfigurationError(
            f"a report needs {' and '.join(missing)}: pip install 'milvue-async[report]'"
        )
    if not (output / MANIFEST).is_file():
        raise ConfigurationError(f"{output} holds no {MANIFEST}: it is no results folder")
    from milvue_async.report.building import build  # noqa: PLC0415  needs the extra

    return build(output, sources, language)
