"""What a result is about: one image of a study with what was predicted on it, or the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from milvue_async.simulator.objects.attributes import Origin, Reference
    from milvue_async.simulator.objects.marks import Mark
    from milvue_async.simulator.objects.pixels import Frame
    from milvue_async.simulator.objects.wording import Prediction

__all__ = ["ImageSubject", "StudySubject", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What every result needs to know of what it is about.

    Attributes:
        origin: Whose patient and study the result has.
        references: The instances it is made from.
        digest: Hash of the prediction it shows, in hexadecimal.
    """

    origin: Origin
    references: Sequence[Reference]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSubject(Subject):
    """One image.

    Attributes:
        dataset: The source, where window, rescaling and palette are taken from.
        frame: Its stored values.
        marks: What was predicted on it.
    """

    dataset: Dataset
    frame: Frame
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySubject(Subject):
    """A whole study.

    Attributes:
        prediction: What was predicted.
    """

    prediction: Prediction
