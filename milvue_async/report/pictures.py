"""Thumbnails of a study's images: of those that were sent, else of results that show them."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import Image

from milvue_async.dicom import DicomError
from milvue_async.files import make_private_folder, write_private_file
from milvue_async.pixels import decode_picture, derived_from
from milvue_async.protocol.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["FOLDER", "Thumbnail", "thumbnails"]

FOLDER = "report"

_MAX_SIDE = 512  # pixels
_QUALITY = 82
_MAX_RESULTS = 100  # results of one command to look through for one that shows an image
_COMMANDS = ("smarturgences", "smartxpert")
_COMMENT = re.compile(rb"(source|overlay) ([1-9]\d{0,4}) ([1-9]\d{0,4})")

Kind = Literal["source", "overlay"]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture of an image, at most 512 pixels a side.

    Attributes:
        kind: ``source``: made of the image that was sent. ``overlay``: made of a result that
            shows it, with marks burned in.
        columns: Width in pixels of what it is made of.
        rows: Height in pixels of what it is made of.
    """

    kind: Kind
    columns: int
    rows: int


def thumbnails(
    output: Path, uid: str, images: Iterable[str], sources: Mapping[str, Path]
) -> dict[str, Thumbnail]:
    """Make the thumbnails of one study that are missing or older than what they are made of.

    They are ``report/<StudyInstanceUID>/<SOPInstanceUID>.jpg`` below ``output``, and say in
    their comment what they are made of.

    Args:
        output: The results folder.
        uid: StudyInstanceUID, validated.
        images: SOPInstanceUIDs of the images, validated. Where there is none, results are shown
            by themselves.
        sources: SOPInstanceUID to the path of the image that was sent, as far as known.

    Returns:
        Those there are, by SOPInstanceUID.

    Raises:
        OSError: One cannot be written.
    """
    folder = output / FOLDER / uid
    wanted = list(images)
    made: dict[str, Thumbnail] = {}
    for image in wanted:
        if thumbnail := _of_source(folder / f"{image}.jpg", sources.get(image)):
            made[image] = thumbnail
    if len(made) == len(wanted) and wanted:
        return made
    for image, result in _overlays(output / uid, set(wanted) - set(made)).items():
        if thumbnail := _kept_or_made(folder / f"{image}.jpg", result, "overlay"):
            made[image] = thumbnail
    return made


def _of_source(thumbnail: Path, source: Path | None) -> Thumbnail | None:
    if source is None:
        kept = _read(thumbnail)
        return kept if kept and kept.kind == "source" else None
    return _kept_or_made(thumbnail, source, "source")


def _kept_or_made(thumbnail: Path, original: Path, kind: Kind) -> Thumbnail | None:
    kept = _read(thumbnail)
    if kept and kept.kind == kind and _is_newer(thumbnail, original):
        return kept
    try:
        picture = decode_picture(original, _MAX_SIDE)
    except (DicomError, OSError):
        return None
    image = Image.fromarray(picture.pixels)
    image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    comment = f"{kind} {picture.columns} {picture.rows}"
    image.save(encoded, "JPEG", quality=_QUALITY, comment=comment)
    make_private_folder(thumbnail.parent)
    write_private_file(thumbnail, encoded.getvalue())
    return Thumbnail(kind, picture.columns, picture.rows)


def _is_newer(thumbnail: Path, original: Path) -> bool:
    """Whether it is; true where the original is gone, since a new one could not be made."""
    with contextlib.suppress(OSError):
        return thumbnail.stat().st_mtime_ns > original.stat().st_mtime_ns
    return True


def _read(thumbnail: Path) -> Thumbnail | None:
    """What a thumbnail of an earlier report says it is; None where there is none of ours."""
    try:
        with Image.open(thumbnail, formats=["JPEG"]) as image:
            comment = image.info.get("comment")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    found = _COMMENT.fullmatch(comment) if isinstance(comment, bytes) else None
    if not found:
        return None
    kind: Kind = "source" if found[1] == b"source" else "overlay"
    return Thumbnail(kind, int(found[2]), int(found[3]))


def _overlays(results: Path, wanted: set[str]) -> dict[str, Path]:
    """Results that show one image each: that of each wanted image, or all where none is wanted."""
    found: dict[str, Path] = {}
    for command in _COMMANDS:
        for result in sorted((results / command).glob("*.dcm"))[:_MAX_RESULTS]:
            if not is_uid(result.stem):
                continue
            shown = _shown_by(result)
            if not wanted and shown:
                found[result.stem] = result
            elif shown in wanted:
                found.setdefault(shown, result)
    return found


def _shown_by(result: Path) -> str:
    """The one image that a result was made of; empty where there is none, or several."""
    try:
        shown = derived_from(result)
    except (DicomError, OSError):
        return ""
    return shown[0] if len(shown) == 1 else ""
