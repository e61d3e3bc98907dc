"""The fixed words of DICOM results, in the six languages of the API, and how predictions read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from milvue_async.protocol.models import (
    PathoLabelEnum,
    SmartxpertInstanceSchema,
    SmartxpertV3,
    TranslationSchema,
)
from milvue_async.simulator import vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvue_async.protocol.models import (
        FindingSchema,
        MeasureSchema,
        SmarturgencesInstanceSchema,
        SmarturgencesV3,
    )

    Prediction = SmarturgencesV3 | SmartxpertV3
    Instance = SmarturgencesInstanceSchema | SmartxpertInstanceSchema

__all__ = [
    "CONCLUSION",
    "DISCLAIMER",
    "KINDS",
    "LABELS",
    "LANGUAGES",
    "NOT_DRAWN",
    "SCORE",
    "Report",
    "Section",
    "disclaimers",
    "measure_text",
    "report",
    "say",
]

DISCLAIMER = "SIMULATED - NOT FOR DIAGNOSTIC USE"

LANGUAGES = {
    "en": "English",
    "fr": "French",
    "es": "Spanish",
    "de": "German",
    "it": "Italian",
    "pt": "Portuguese",
}
"""RFC 5646 tag to its English name."""


def _words(*words: str) -> TranslationSchema:
    """The words in the order of `LANGUAGES`."""
    return TranslationSchema(**dict(zip(LANGUAGES, words, strict=True)))


KINDS = {
    "overlay": _words(
        "Annotated image",
        "Image annotée",
        "Imagen anotada",
        "Annotiertes Bild",
        "Immagine annotata",
        "Imagem anotada",
    ),
    "highbit": _words(
        "Annotated original",
        "Original annoté",
        "Original anotado",
        "Annotiertes Original",
        "Originale annotato",
        "Original anotado",
    ),
    "gsps": _words(
        "Annotations", "Annotations", "Anotaciones", "Anmerkungen", "Annotazioni", "Anotações"
    ),
    "recap": _words(
        "Summary", "Récapitulatif", "Resumen", "Zusammenfassung", "Riepilogo", "Resumo"
    ),
    "structured_report": _words(
        "Structured report",
        "Compte rendu structuré",
        "Informe estructurado",
        "Strukturierter Befund",
        "Referto strutturato",
        "Relatório estruturado",
    ),
    "static_report": _words("Report", "Compte rendu", "Informe", "Befund", "Referto", "Relatório"),
}
"""What a result is: the kinds of results, each of which has a series of its own."""

LABELS = {
    PathoLabelEnum.ABNORMAL: vocabulary.ABNORMAL,
    PathoLabelEnum.DOUBT: vocabulary.DOUBT,
    PathoLabelEnum.NORMAL: vocabulary.NORMAL,
    PathoLabelEnum.UNKNOWN: _words(
        "Unknown", "Inconnu", "Desconocido", "Unbekannt", "Sconosciuto", "Desconhecido"
    ),
    PathoLabelEnum.OUT_SCOPE: _words(
        "Out of scope",
        "Hors périmètre",
        "Fuera de alcance",
        "Außerhalb des Umfangs",
        "Fuori ambito",
        "Fora do âmbito",
    ),
}
CONCLUSION = _words(
    "Conclusion", "Conclusion", "Conclusión", "Beurteilung", "Conclusione", "Conclusão"
)
SCORE = _words("Score", "Score", "Puntuación", "Bewertung", "Punteggio", "Pontuação")
NOT_DRAWN = _words(
    "The source image could not be drawn",
    "L'image source n'a pas pu être affichée",
    "No se pudo mostrar la imagen de origen",
    "Das Ausgangsbild konnte nicht dargestellt werden",
    "Impossibile visualizzare l'immagine di origine",
    "Não foi possível mostrar a imagem de origem",
)
_IMAGE = _words("Image", "Image", "Imagen", "Bild", "Immagine", "Imagem")
_MEASURES = _words(
    "{count} measurement(s)",
    "{count} mesure(s)",
    "{count} medida(s)",
    "{count} Messung(en)",
    "{count} misura/e",
    "{count} medida(s)",
)


@dataclass(frozen=True, slots=True)
class Section:
    """What a report says of one image, in lines of text."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A prediction in words."""

    title: str
    disclaimers: tuple[str, ...]
    conclusion: str
    sections: tuple[Section, ...]


def say(words: TranslationSchema, language: str) -> str:
    """The words in one language."""
    return str(getattr(words, language))


def disclaimers(language: str) -> tuple[str, ...]:
    """What every result says of itself: in English, and in its own language if that is another."""
    translated = () if language == "en" else (say(vocabulary.SIMULATED, language),)
    return (DISCLAIMER, *translated)


def report(prediction: Prediction, language: str) -> Report:
    """A whole prediction in words."""
    instances: Sequence[Instance] = prediction.instances
    return Report(
        title=say(vocabulary.TITLE, language),
        disclaimers=disclaimers(language),
        conclusion=_conclusion(prediction, language),
        sections=tuple(
            _section(number, instance, language)
            for number, instance in enumerate(instances, start=1)
        ),
    )


def measure_text(measure: MeasureSchema, language: str) -> str:
    """A measure with its value and unit."""
    return f"{say(measure.translation, language)}: {measure.measure:g} {measure.unit}"


def _conclusion(prediction: Prediction, language: str) -> str:
    if isinstance(prediction, SmartxpertV3):
        count = sum(len(instance.measures) for instance in prediction.instances)
        return say(_MEASURES, language).format(count=count)
    positive = [
        say(finding.translation, language)
        for finding in prediction.findings
        if finding.label != PathoLabelEnum.NORMAL
    ]
    label = _label(prediction.flag.label, language)
    return f"{label}: {', '.join(positive)}" if positive else label


def _section(number: int, instance: Instance, language: str) -> Section:
    parts = [say(part.translation, language) for part in instance.body_parts]
    if isinstance(instance, SmartxpertInstanceSchema):
        lines = [measure_text(measure, language) for measure in instance.measures]
    else:
        lines = [_finding_text(finding, language) for finding in instance.findings]
    return Section(
        heading=" - ".join([f"{say(_IMAGE, language)} {number}", *parts]),
        lines=tuple(lines) or (say(vocabulary.NO_RESULT, language),),
    )


def _finding_text(finding: FindingSchema, language: str) -> str:
    name = say(finding.translation, language)
    return f"{name}: {_label(finding.label, language)} ({finding.score:.2f})"


def _label(label: PathoLabelEnum, language: str) -> str:
    words = LABELS.get(label)
    return say(words, language) if words else label.value
