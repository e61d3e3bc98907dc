"""Letters and lines on pictures, in a font that has the accents of all six languages."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reportlab  # type: ignore[import-untyped]  # it has no types
from PIL import ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import ImageDraw

    from milvue_async.simulator.objects.marks import Mark

__all__ = ["BOLD", "FONT_FOLDER", "REGULAR", "draw_mark", "fitting_size", "font", "wrap"]

FONT_FOLDER = Path(reportlab.__file__).parent / "fonts"
REGULAR = "Vera"
BOLD = "VeraBd"

Ink = tuple[int, int, int] | int
_KEPT = 256  # lines; a tenth of the time that results take was drawing the same ones again


class _Font(ImageFont.FreeTypeFont):
    """Knows the lines that it drew last, of which most come again on the next picture."""

    def getmask2(self, *args: Any, **options: Any) -> Any:
        """A line as a mask, and where that lies."""
        return _mask(self, args, tuple(options.items()))


@lru_cache(maxsize=_KEPT)
def _mask(face: _Font, args: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> Any:
    return ImageFont.FreeTypeFont.getmask2(face, *args, **dict(options))


@lru_cache(maxsize=64)
def font(size: int, name: str = REGULAR) -> ImageFont.FreeTypeFont:
    """Bitstream Vera, which comes with reportlab, ``size`` pixels high."""
    return _Font(str(FONT_FOLDER / f"{name}.ttf"), size)


@lru_cache(maxsize=_KEPT)
def fitting_size(words: str, width: int, smallest: int, largest: int) -> int:
    """The greatest size in pixels in which no word is wider than ``width``; at least smallest."""
    longest = max(words.split(), key=len)
    for size in range(largest, smallest, -1):
        if font(size).getlength(longest) <= width:
            return size
    return smallest


@lru_cache(maxsize=_KEPT)
def wrap(line: str, size: int, width: int, name: str = REGULAR) -> tuple[str, ...]:
    """A line broken between words, so that no part is wider than ``width`` pixels, if possible."""
    first, *others = line.split() or [""]
    parts = [first]
    for word in others:
        longer = f"{parts[-1]} {word}"
        if font(size, name).getlength(longer) <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return tuple(parts)


def draw_mark(
    pen: ImageDraw.ImageDraw, mark: Mark, *, step: int, width: int, ink: Ink, origin: Sequence[int]
) -> None:
    """Draw a box or the lines of a measure.

    Args:
        pen: Draws on the picture.
        mark: What to draw.
        step: Pixels of the source to one of the picture.
        width: Of the lines, in pixels.
        ink: A colour of the picture.
        origin: Where the image's top left lies in the picture, ``(x, y)``.
    """
    for polyline in mark.polylines:
        points = [(x // step + origin[0], y // step + origin[1]) for x, y in polyline]
        if mark.is_box:
            pen.rectangle((points[0], points[2]), outline=ink, width=width)
            continue
        pen.line(points, fill=ink, width=width)
        for point in points:
            pen.circle(point, width, fill=ink)
