"""Pages about a whole study: the recapitulative image and the static report."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pypdf
import pytest
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from tests.simulator.objects.support import (
    COMMANDS,
    DISCLAIMER,
    LANGUAGES,
    predict,
    report,
    results,
    source,
    urgences,
    values_of,
    with_finding,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

TITLES = {
    "en": "Simulated report",
    "fr": "Compte rendu simulé",
    "es": "Informe simulado",
    "de": "Simulierter Befund",
    "it": "Referto simulato",
    "pt": "Relatório simulado",
}


def recap(sources: list[Dataset], command: str = "smarturgences", **asked: str) -> Dataset:
    return results(sources, command, **asked)[-1]


def pdf(sources: list[Dataset], command: str = "smarturgences", **asked: str) -> pypdf.PdfReader:
    result = report(sources, command, static_report_format="pdf", **asked)
    return pypdf.PdfReader(io.BytesIO(result.EncapsulatedDocument), strict=True)


def text_lines(values: NDArray[Any]) -> int:
    """How many lines of dark or bright text stand on an even page."""
    marked = (values != values[0, 0]).any(axis=(1, 2)).astype(int)
    return int((np.diff(marked) == 1).sum())


@pytest.mark.parametrize(("theme", "is_dark"), [("dark", True), ("light", False)])
def test_a_recap_has_the_colours_of_its_theme(theme: str, is_dark: bool) -> None:
    page = values_of(recap([with_finding()], recap_theme=theme))
    assert bool(page[0, 0].max() < 64) == is_dark
    assert bool(page[0, 0].min() > 192) != is_dark
    assert page.min() < 64
    assert page.max() > 192


def test_a_recap_shows_every_image_with_its_marks() -> None:
    one = values_of(recap([source()], "smartxpert"))
    five = values_of(recap([source(number=each, seed=each) for each in range(1, 6)], "smartxpert"))
    assert five.shape[0] > one.shape[0] + 240  # a second row of images
    coloured = (five == (0, 224, 255)).all(axis=2)
    columns = np.flatnonzero(coloured.any(axis=0))
    assert (columns.min() < 252, columns.max() > 3 * 252) == (True, True)


def test_a_recap_is_as_wide_as_its_images_and_two_at_least() -> None:
    widths = []
    for count in (1, 2, 3, 4, 9):
        study = [source(number=each) for each in range(1, count + 1)]
        widths.append(recap(study).Columns)
    assert widths == [516, 516, 768, 1020, 1020]


def test_a_recap_names_all_its_sources() -> None:
    study = [source(number=each) for each in (1, 2, 3)]
    result = recap(study)
    assert result.SOPClassUID == SecondaryCaptureImageStorage
    named = [each.ReferencedSOPInstanceUID for each in result.SourceImageSequence]
    assert named == [each.SOPInstanceUID for each in study]


def test_a_recap_of_many_images_stays_one_page() -> None:
    study = [source(number=each, rows=20, columns=20) for each in range(1, 41)]
    assert recap(study).Rows < 2000


@pytest.mark.parametrize("command", COMMANDS)
def test_recaps_and_reports_differ_from_language_to_language(command: str) -> None:
    pages: set[bytes] = set()
    for language in LANGUAGES:
        made = results([with_finding()], command, language=language, static_report_format="rgb")
        pages |= {made[-1].PixelData, made[-2].PixelData}
    assert len(pages) == 2 * len(LANGUAGES)


def test_a_report_as_a_picture_is_black_on_white_with_all_its_lines() -> None:
    study = [with_finding(), source(number=2)]
    page = values_of(report(study, static_report_format="rgb"))
    assert page[0, 0].tolist() == [255, 255, 255]
    assert page.min() == 0
    # Title, disclaimer, conclusion and its heading; of each image a heading and five findings.
    assert text_lines(page) == 4 + 2 * 6


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_as_pdf_says_all_there_is_in_its_language(command: str, language: str) -> None:
    study = [with_finding(), source(number=2)]
    (page,) = pdf(study, command, language=language).pages
    lines = page.extract_text().splitlines()
    assert lines[:2] == [TITLES[language], DISCLAIMER]
    said = "\n".join(lines)
    for instance in predict(command, study, language).instances:
        shown = instance.model_dump().get("findings") or instance.model_dump()["measures"]
        for each in (*shown, *instance.model_dump()["body_parts"]):
            assert each["translation"][language] in said
    assert any(letter in said for letter in "éèçíóúäöüßãõ") or language in {"en", "it"}


def test_a_report_as_pdf_is_an_encapsulated_document() -> None:
    result = report([source()], static_report_format="pdf", language="pt")
    assert result.SOPClassUID == EncapsulatedPDFStorage
    assert result.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert result.DocumentTitle == "Relatório simulado"
    document = result.EncapsulatedDocument[: result.EncapsulatedDocumentLength]
    assert document.startswith(b"%PDF-")
    assert document.endswith(b"%%EOF\n")
    assert len(result.EncapsulatedDocument) % 2 == 0
    metadata = pypdf.PdfReader(io.BytesIO(document), strict=True).metadata
    assert metadata is not None
    assert (metadata.title, metadata.subject) == ("Relatório simulado", DISCLAIMER)


def test_a_long_report_has_several_pages_each_of_which_says_that_it_is_simulated() -> None:
    study = [source(number=each, rows=20, columns=20) for each in range(1, 31)]
    pages = [page.extract_text() for page in pdf(study).pages]
    assert len(pages) > 2
    assert all(DISCLAIMER in page for page in pages)
    headings = [line for page in pages for line in page.splitlines() if line.startswith("Image ")]
    assert [int(each.split()[1]) for each in headings] == list(range(1, 31))
    drawn = results(study, output_selection="none", static_report_format="rgb")
    assert [each.InstanceNumber for each in drawn] == list(range(1, len(pages) + 1))
    assert len({each.SOPInstanceUID for each in drawn}) == len(pages)
    assert len({each.SeriesInstanceUID for each in drawn}) == 1


def test_a_report_on_images_without_result_says_so() -> None:
    origin = source()
    del origin.PixelData
    assert urgences([origin]).instances[0].findings == []
    (page,) = pdf([origin], language="de").pages
    assert "Kein Ergebnis" in page.extract_text()
    assert "Außerhalb des Umfangs" in page.extract_text()
