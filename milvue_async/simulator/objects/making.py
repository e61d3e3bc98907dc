"""All results of a command on a study, one after another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from milvue_async.simulator.objects.attributes import read_origin
from milvue_async.simulator.objects.captures import annotate, capture, overlay, undrawn
from milvue_async.simulator.objects.documents import structured_report
from milvue_async.simulator.objects.highbit import highbit
from milvue_async.simulator.objects.identity import Maker
from milvue_async.simulator.objects.marks import is_positive, marks_of
from milvue_async.simulator.objects.pages import (
    MAX_THUMBNAILS,
    draw_page,
    paginate,
    recap,
    thumbnail,
)
from milvue_async.simulator.objects.pdf import encapsulated_pdf
from milvue_async.simulator.objects.pixels import decode, picture_of
from milvue_async.simulator.objects.states import presentation_state
from milvue_async.simulator.objects.subjects import ImageSubject, StudySubject, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from milvue_async.simulator.objects.attributes import Origin, Reference
    from milvue_async.simulator.objects.parameters import ResultParameters
    from milvue_async.simulator.objects.wording import Instance, Prediction

__all__ = ["make_results"]


def make_results(
    sources: Iterable[Dataset], command: str, prediction: Prediction, parameters: ResultParameters
) -> Iterator[Dataset]:
    """Make the DICOM results of one command on one study.

    First comes a result for each source, in their order; then what is about the whole study: the
    recapitulative image, the structured report, the static report. Which of them there are
    depends on the parameters:

    - ``output_selection`` is about pictures: ``no_recap`` leaves out the recapitulative image,
      ``no_negatives`` the results of sources with nothing on them, ``none`` both kinds. Reports
      have switches of their own.
    - A source that cannot be decoded, and with ``gsps`` one that cannot be referred to, gets a
      Secondary Capture of a grey page that says so, whatever the output format.

    Blocks; what pydicom warns about while it decodes is the caller's. Sources are asked for one
    at a time and not kept: with a generator one of them is in memory.

    Args:
        sources: The received instances, of one study. Each needs its UIDs, and its file meta
            information where its pixels are encapsulated. They are not changed.
        command: The inference command.
        prediction: What it predicted, as the JSON says it.
        parameters: What is asked for.

    Raises:
        InvalidUIDError: A source has no usable StudyInstanceUID or SOPInstanceUID.
        ValueError: A source is of another study than the prediction.
    """
    making = _Making(Maker(command, parameters), prediction)
    yield from chain.from_iterable(map(making.of_source, sources))  # no name keeps the last one
    yield from making.of_study()


@dataclass(slots=True)
class _Making:
    """Makes results, and keeps of each source what those of the study need."""

    maker: Maker
    prediction: Prediction
    references: list[Reference] = field(default_factory=list)
    first: Origin | None = None
    thumbnails: list[NDArray[np.uint8]] = field(default_factory=list)
    instances: dict[str, Instance] = field(init=False)
    images: int = 0

    def __post_init__(self) -> None:
        self.instances = {each.SOPInstanceUID: each for each in self.prediction.instances}

    def of_source(self, source: Dataset) -> Iterator[Dataset]:
        """The result of one source, if it gets one."""
        origin = read_origin(source)
        if origin.reference.study_instance_uid != self.prediction.StudyInstanceUID:
            raise ValueError("a source is of another study than the prediction")
        self.references.append(origin.reference)
        self.first = self.first or origin
        selection = self.maker.parameters.output_selection
        positive = is_positive(self.instances.get(origin.reference.sop_instance_uid))
        is_wanted = selection != "none" and (positive or selection != "no_negatives")
        if is_wanted or self._lacks_thumbnails():
            subject = self._subject(source, origin)
            drawn = self._drawn(subject)
            self._keep_thumbnail(drawn)
            if is_wanted:
                self.images += 1
                yield self._picture(subject, drawn)

    def of_study(self) -> Iterator[Dataset]:
        """The results of the whole study, after those of its sources."""
        if self.first is None:
            return
        uids = [reference.sop_instance_uid for reference in self.references]
        study = StudySubject(
            origin=self.first,
            references=self.references,
            digest=_digest(self.prediction.model_dump_json(), *uids),
            prediction=self.prediction,
        )
        if self._wants_recap():
            yield self._recap(study)
        if self.maker.parameters.structured_report_format != "none":
            yield from structured_report(self.maker, study)
        if self.maker.parameters.static_report_format == "pdf":
            yield encapsulated_pdf(self.maker, study)
        if self.maker.parameters.static_report_format == "rgb":
            yield from self._static_pages(study)

    def _subject(self, source: Dataset, origin: Origin) -> Subject | ImageSubject:
        instance = self.instances.get(origin.reference.sop_instance_uid)
        digest = _digest("" if instance is None else instance.model_dump_json())
        subject = Subject(origin=origin, references=[origin.reference], digest=digest)
        frame = decode(source)
        if frame is None:
            return subject
        return ImageSubject(
            origin=origin,
            references=[origin.reference],
            digest=digest,
            dataset=source,
            frame=frame,
            marks=marks_of(instance, self.maker.parameters.language),
        )

    def _drawn(self, subject: Subject | ImageSubject) -> NDArray[np.uint8] | None:
        """The source as a picture with its marks, if there is use for it."""
        is_used = self.maker.parameters.output_format == "overlay" or self._lacks_thumbnails()
        if not isinstance(subject, ImageSubject) or not is_used:
            return None
        return annotate(picture_of(subject.frame, subject.dataset), subject.marks)

    def _picture(self, subject: Subject | ImageSubject, drawn: NDArray[np.uint8] | None) -> Dataset:
        output_format = self.maker.parameters.output_format
        language = self.maker.parameters.language
        pixels = None
        if isinstance(subject, ImageSubject):
            if output_format == "gsps" and subject.origin.reference.is_complete:
                return presentation_state(self.maker, self.images, subject)
            if output_format == "highbit":
                return highbit(self.maker, self.images, subject)
            if output_format == "overlay" and drawn is not None:
                pixels = overlay(drawn, subject.marks, language)
        pixels = undrawn(language) if pixels is None else pixels
        return capture(self.maker, "overlay", self.images, pixels, subject)

    def _wants_recap(self) -> bool:
        return self.maker.parameters.output_selection in {"all", "no_negatives"}

    def _lacks_thumbnails(self) -> bool:
        return self._wants_recap() and len(self.thumbnails) < MAX_THUMBNAILS

    def _keep_thumbnail(self, drawn: NDArray[np.uint8] | None) -> None:
        if drawn is not None and self._lacks_thumbnails():
            self.thumbnails.append(thumbnail(drawn))

    def _recap(self, study: StudySubject) -> Dataset:
        parameters = self.maker.parameters
        page = recap(self.prediction, self.thumbnails, parameters.language, parameters.recap_theme)
        return capture(self.maker, "recap", 1, page, study)

    def _static_pages(self, study: StudySubject) -> Iterator[Dataset]:
        pages = paginate(self.prediction, self.maker.parameters.language)
        for number, lines in enumerate(pages, start=1):
            subject = replace(study, digest=_digest(study.digest, str(number)))
            yield capture(self.maker, "static_report", number, draw_page(lines), subject)


def _digest(*contents: str) -> str:
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()
