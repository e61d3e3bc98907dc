"""The static report as an Encapsulated PDF (PS3.3 section A.45.1)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from highdicom.base import SOPClass
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]  # it has no types
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]  # the same
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]  # the same

from milvue_async.simulator.objects.identity import MANUFACTURER
from milvue_async.simulator.objects.lettering import BOLD, FONT_FOLDER, REGULAR
from milvue_async.simulator.objects.pages import PAGE, paginate
from milvue_async.simulator.objects.wording import DISCLAIMER, report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydicom.dataset import Dataset

    from milvue_async.simulator.objects.identity import Maker
    from milvue_async.simulator.objects.pages import Line
    from milvue_async.simulator.objects.subjects import StudySubject

__all__ = ["encapsulated_pdf", "write_pdf"]

_POINTS = 0.72  # a pixel of a page is a hundredth of an inch, a point one in 72

# Here, where one thread comes first: a font must not be replaced while a page is written with it.
for _name in (REGULAR, BOLD):
    pdfmetrics.registerFont(TTFont(_name, str(FONT_FOLDER / f"{_name}.ttf")))


def encapsulated_pdf(maker: Maker, study: StudySubject) -> Dataset:
    """The report on a whole study.

    Args:
        maker: Identifies it.
        study: What it reports.
    """
    language = maker.parameters.language
    title = report(study.prediction, language).title
    document = write_pdf(title, paginate(study.prediction, language))
    result = SOPClass(
        study_instance_uid=study.origin.reference.study_instance_uid,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **maker.arguments(study, "static_report", 1),
    )
    result.ConversionType = "SYN"
    result.BurnedInAnnotation = "YES"
    result.AcquisitionDateTime = None
    result.DocumentTitle = title
    result.ConceptNameCodeSequence = []
    result.MIMETypeOfEncapsulatedDocument = "application/pdf"
    result.EncapsulatedDocumentLength = len(document)
    result.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    items = [reference.instance_item() for reference in study.references if reference.is_complete]
    if items:
        result.SourceInstanceSequence = items
    return maker.finish(result, study)


def write_pdf(title: str, pages: Iterable[Sequence[Line]]) -> bytes:
    """A PDF file with these pages; the same bytes for the same pages."""
    file = io.BytesIO()
    width, height = (side * _POINTS for side in PAGE)
    canvas = Canvas(file, pagesize=(width, height), invariant=1)
    canvas.setTitle(title)
    canvas.setAuthor(MANUFACTURER)
    canvas.setSubject(DISCLAIMER)
    for page in pages:
        for line in page:
            canvas.setFont(line.font, line.size * _POINTS)
            baseline = height - (line.top + line.size) * _POINTS
            canvas.drawString(line.left * _POINTS, baseline, line.text)
        canvas.showPage()
    canvas.save()
    return file.getvalue()
