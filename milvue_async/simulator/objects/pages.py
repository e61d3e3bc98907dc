"""Pages about a whole study: the recapitulative image, and those of the static report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from milvue_async.simulator.objects.lettering import BOLD, REGULAR, font, wrap
from milvue_async.simulator.objects.wording import CONCLUSION, KINDS, report, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from milvue_async.simulator.objects.wording import Prediction, Report

__all__ = ["MAX_THUMBNAILS", "PAGE", "Line", "draw_page", "paginate", "recap", "thumbnail"]

MAX_THUMBNAILS = 12
"""Images that a recapitulative image shows; further ones are counted."""

PAGE = (850, 1100)
"""Width and height of a report page in pixels, of which a hundred are an inch."""

_MARGIN = 60
_COLUMNS = range(2, 5)  # of images on a recapitulative image, which is no wider than they are
_CELL = 240  # pixels a side
_GAP = 12
_MAX_RECAP_LINES = 24
_THEMES = {  # background, text, notice
    "dark": ((16, 16, 20), (240, 240, 240), (255, 176, 0)),
    "light": ((250, 250, 250), (16, 16, 20), (176, 64, 0)),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text on a page.

    Attributes:
        text: Its words.
        size: Height of the letters in pixels.
        font: `REGULAR` or `BOLD`.
        left: Distance from the page's left edge, in pixels.
        top: Distance from the page's top edge, in pixels.
    """

    text: str
    size: int
    font: str
    left: int
    top: int


def thumbnail(annotated: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small one of a picture with its marks, at most `_CELL` pixels a side."""
    image = Image.fromarray(annotated)
    image.thumbnail((_CELL, _CELL))
    return np.asarray(image)


def recap(
    prediction: Prediction, thumbnails: Sequence[NDArray[np.uint8]], language: str, theme: str
) -> NDArray[np.uint8]:
    """One page that sums up a study: its conclusion, its images, what is on them.

    Args:
        prediction: What it sums up.
        thumbnails: The first images of the study, at most `MAX_THUMBNAILS`.
        language: Of its words.
        theme: ``dark`` or ``light``.

    Returns:
        RGB of 8 bits, shape (rows, columns, 3).
    """
    background, ink, notice = _THEMES[theme]
    words = report(prediction, language)
    title = say(KINDS["recap"], language)
    columns = min(max(len(thumbnails), _COLUMNS[0]), _COLUMNS[-1])
    width = columns * (_CELL + _GAP) + _GAP
    head, top = _stacked([(title, 26, BOLD), *_notices(words)], _GAP, _GAP, width)
    rows = -(-len(thumbnails) // columns)
    below = top + rows * (_CELL + _GAP) + _GAP
    body, bottom = _stacked(_summary(words, language), below, _GAP, width)
    page = Image.new("RGB", (width, bottom + _GAP), background)
    for number, small in enumerate(thumbnails):
        row, column = divmod(number, columns)
        corner = (_GAP + column * (_CELL + _GAP), top + row * (_CELL + _GAP))
        page.paste(Image.fromarray(small), corner)
    pen = ImageDraw.Draw(page)
    for number, line in enumerate((*head, *body)):
        colour = notice if 0 < number < len(head) else ink
        pen.text((line.left, line.top), line.text, font=font(line.size, line.font), fill=colour)
    return np.asarray(page)


def paginate(prediction: Prediction, language: str) -> Iterator[tuple[Line, ...]]:
    """The static report, page by page; on top of each stands that it is simulated."""
    words = report(prediction, language)
    head = [(words.title, 22, BOLD), *_notices(words)]
    rest = _paragraphs(words, language)
    while True:
        lines, top = _stacked(head, _MARGIN, _MARGIN, PAGE[0])
        page = list(lines)
        while rest:
            more, bottom = _stacked(rest[:1], top, _MARGIN, PAGE[0])
            if bottom > PAGE[1] - _MARGIN:
                break
            page += more
            top = bottom
            rest = rest[1:]
        yield tuple(page)
        if not rest:
            return


def draw_page(lines: Sequence[Line]) -> NDArray[np.uint8]:
    """A page of the static report as a picture: RGB, shape (rows, columns, 3)."""
    page = Image.new("RGB", PAGE, (255, 255, 255))
    pen = ImageDraw.Draw(page)
    for line in lines:
        pen.text((line.left, line.top), line.text, font=font(line.size, line.font), fill=(0, 0, 0))
    return np.asarray(page)


Paragraph = tuple[str, int, str]


def _notices(words: Report) -> list[Paragraph]:
    return [(line, 18, BOLD) for line in words.disclaimers]


def _paragraphs(words: Report, language: str) -> list[Paragraph]:
    paragraphs: list[Paragraph] = [
        (say(CONCLUSION, language), 18, BOLD),
        (words.conclusion, 16, REGULAR),
    ]
    for section in words.sections:
        paragraphs.append((section.heading, 16, BOLD))
        paragraphs += [(line, 14, REGULAR) for line in section.lines]
    return paragraphs


def _summary(words: Report, language: str) -> list[Paragraph]:
    """As much of the report as fits below the thumbnails, and how many lines do not."""
    paragraphs = _paragraphs(words, language)
    hidden = len(paragraphs) - _MAX_RECAP_LINES
    if hidden <= 0:
        return paragraphs
    return [*paragraphs[:_MAX_RECAP_LINES], (f"... (+{hidden})", 14, REGULAR)]


def _stacked(
    paragraphs: Sequence[Paragraph], top: int, left: int, width: int
) -> tuple[list[Line], int]:
    """Paragraphs broken into lines below one another, and where the next one begins."""
    lines = []
    for words, size, face in paragraphs:
        for part in wrap(words, size, width - 2 * left, face):
            lines.append(Line(part, size, face, left, top))
            top += size * 3 // 2
    return lines, top
