"""JSON predictions: the same for the same pixels, inside the image, in the models of the API.

Nothing is detected. A random generator seeded by the pixels chooses what is found and where, so
that a picture always gets the same result, and several pictures get different ones.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from milvue_async.protocol.models import (
    BodyPartSchema,
    BoundingBoxSchema,
    FindingSchema,
    FlagSchema,
    InferenceStatusEnum,
    MeasureSchema,
    MeasureTypeEnum,
    PathoLabelEnum,
    PathoStatusEnum,
    ReportSchema,
    ResultSchema,
    SmarturgencesInstanceSchema,
    SmarturgencesV3,
    SmartxpertInstanceSchema,
    SmartxpertV3,
)
from milvue_async.simulator import vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milvue_async.protocol.models import TranslationSchema

__all__ = ["VERSION", "Image", "find", "measure", "smarturgences", "smartxpert"]

VERSION = "simulated"

_SEVERITY = (
    PathoLabelEnum.ABNORMAL,
    PathoLabelEnum.DOUBT,
    PathoLabelEnum.NORMAL,
    PathoLabelEnum.UNKNOWN,
    PathoLabelEnum.OUT_SCOPE,
)
_SHARES = (0.45, 0.2, 0.35)  # of abnormal, doubt and normal images
_SCORES = {
    PathoLabelEnum.ABNORMAL: (0.8, 0.99),
    PathoLabelEnum.DOUBT: (0.4, 0.6),
    PathoLabelEnum.NORMAL: (0.01, 0.2),
}
_WORDS = {
    PathoLabelEnum.ABNORMAL: vocabulary.ABNORMAL,
    PathoLabelEnum.DOUBT: vocabulary.DOUBT,
    PathoLabelEnum.NORMAL: vocabulary.NORMAL,
}
_DEPRECATED = {
    PathoLabelEnum.ABNORMAL: PathoStatusEnum.YES,
    PathoLabelEnum.DOUBT: PathoStatusEnum.DOUBT,
    PathoLabelEnum.NORMAL: PathoStatusEnum.NO,
}
_TIME = "19700101000000"  # a constant: the same study gives the same message


@dataclass(frozen=True, slots=True)
class Image:
    """What a prediction needs to know of an instance.

    Attributes:
        series_instance_uid: Its series.
        sop_instance_uid: The instance.
        kind: ``drawable``; ``undecodable`` pixels; or ``none`` at all.
        rows: Height in pixels; 0 where nothing is drawable.
        columns: Width in pixels; 0 where nothing is drawable.
        spacing: Millimetres between rows and between columns, where the source says so.
        digest: Hash of the pixels, in hexadecimal; of the whole file where there are none.
    """

    series_instance_uid: str
    sop_instance_uid: str
    kind: Literal["drawable", "undecodable", "none"]
    rows: int
    columns: int
    spacing: tuple[float, float] | None
    digest: str


def find(image: Image) -> SmarturgencesInstanceSchema:
    """What smarturgences says of one image; nothing where it cannot be drawn."""
    generator = _generator(image, "smarturgences")
    findings = _findings(generator) if image.kind == "drawable" else []
    return SmarturgencesInstanceSchema(
        SOPInstanceUID=image.sop_instance_uid,
        SeriesInstanceUID=image.series_instance_uid,
        body_parts=_body_parts(image),
        findings=findings,
        bounding_boxes=[
            _box(generator, image, finding)
            for finding in findings
            if finding.label != PathoLabelEnum.NORMAL
        ],
    )


def measure(image: Image) -> SmartxpertInstanceSchema:
    """What smartxpert measures on one image: an angle and a length, or nothing."""
    generator = _generator(image, "smartxpert")
    drawable = image.kind == "drawable"
    return SmartxpertInstanceSchema(
        SOPInstanceUID=image.sop_instance_uid,
        SeriesInstanceUID=image.series_instance_uid,
        body_parts=_body_parts(image),
        measures=[_angle(generator, image), _length(generator, image)] if drawable else [],
    )


def smarturgences(
    study_instance_uid: str, images: Sequence[Image], language: str
) -> SmarturgencesV3:
    """The whole answer of smarturgences. Without images it holds nothing, and is out of scope."""
    instances = [find(image) for image in images]
    findings = _worst(instances)
    flag = _flag(images, findings)
    return SmarturgencesV3(
        StudyInstanceUID=study_instance_uid,
        status=InferenceStatusEnum.DONE,
        version=VERSION,
        message=getattr(vocabulary.SIMULATED, language),
        flag=flag,
        hl7=_hl7(study_instance_uid, flag, findings, language),
        findings=findings,
        instances=instances,
        report=_report(instances, language),
    )


def smartxpert(study_instance_uid: str, images: Sequence[Image]) -> SmartxpertV3:
    """The whole answer of smartxpert."""
    return SmartxpertV3(
        StudyInstanceUID=study_instance_uid,
        status=InferenceStatusEnum.DONE,
        version=VERSION,
        message=vocabulary.SIMULATED.en,
        instances=[measure(image) for image in images],
    )


def _generator(image: Image, purpose: str) -> random.Random:
    return random.Random(f"{image.digest} {purpose}")  # noqa: S311  to repeat, not to keep secret


def _body_parts(image: Image) -> list[BodyPartSchema]:
    if image.kind != "drawable":
        return []
    generator = _generator(image, "body part")
    value = generator.choice(list(vocabulary.BODY_PARTS))
    score = round(generator.uniform(0.7, 0.99), 3)
    return [BodyPartSchema(value=value, translation=vocabulary.BODY_PARTS[value], score=score)]


def _findings(generator: random.Random) -> list[FindingSchema]:
    """All findings the command looks for; one or two of them positive on an abnormal image."""
    (worst,) = generator.choices(_SEVERITY[:3], _SHARES)
    positive = generator.sample(list(vocabulary.FINDINGS), generator.randint(1, 2))
    findings = []
    for value, translation in vocabulary.FINDINGS.items():
        label = worst if value in positive else PathoLabelEnum.NORMAL
        findings.append(
            FindingSchema(
                value=value,
                translation=translation,
                label=label,
                score=round(generator.uniform(*_SCORES[label]), 3),
                type=_DEPRECATED[label],
            )
        )
    return findings


def _box(generator: random.Random, image: Image, finding: FindingSchema) -> BoundingBoxSchema:
    left, right = _span(generator, image.columns)
    top, bottom = _span(generator, image.rows)
    return BoundingBoxSchema(
        value=finding.value,
        translation=finding.translation,
        label=finding.label,
        score=finding.score,
        top_left=[left, top],
        bottom_right=[right, bottom],
    )


def _span(generator: random.Random, size: int) -> tuple[int, int]:
    """First and last pixel of a stretch of 10 to 35 % of ``size`` pixels."""
    length = max(1, int(size * generator.uniform(0.1, 0.35)))
    start = generator.randint(0, size - length)
    return start, start + length - 1


def _point(generator: random.Random, image: Image) -> tuple[int, int]:
    """``x, y`` somewhere in the middle 80 % of the image."""
    x = int(generator.uniform(0.1, 0.9) * image.columns)
    y = int(generator.uniform(0.1, 0.9) * image.rows)
    return x, y


def _angle(generator: random.Random, image: Image) -> MeasureSchema:
    value = generator.choice(list(vocabulary.ANGLES))
    apex, first, second = (_point(generator, image) for _ in range(3))
    degrees = math.degrees(_direction(apex, first) - _direction(apex, second)) % 360
    return MeasureSchema(
        type=MeasureTypeEnum.ANGLE,
        value=value,
        translation=vocabulary.ANGLES[value],
        measure=round(min(degrees, 360 - degrees), 1),
        unit="deg",
        lines=[[*apex, *first], [*apex, *second]],
    )


def _direction(start: tuple[int, int], end: tuple[int, int]) -> float:
    return math.atan2(end[1] - start[1], end[0] - start[0])


def _length(generator: random.Random, image: Image) -> MeasureSchema:
    value = generator.choice(list(vocabulary.LENGTHS))
    start, end = _point(generator, image), _point(generator, image)
    between_rows, between_columns = image.spacing or (1.0, 1.0)
    distance = math.hypot((end[0] - start[0]) * between_columns, (end[1] - start[1]) * between_rows)
    return MeasureSchema(
        type=MeasureTypeEnum.LENGTH,
        value=value,
        translation=vocabulary.LENGTHS[value],
        measure=round(distance, 1),
        unit="mm" if image.spacing else "px",
        lines=[[*start, *end]],
    )


def _worst(instances: Sequence[SmarturgencesInstanceSchema]) -> list[FindingSchema]:
    """Of each kind of finding the gravest among the images."""
    gravest: dict[str, FindingSchema] = {}
    for finding in (finding for instance in instances for finding in instance.findings):
        known = gravest.get(finding.value)
        if known is None or _gravity(finding) > _gravity(known):
            gravest[finding.value] = finding
    return list(gravest.values())


def _gravity(finding: FindingSchema) -> tuple[int, float]:
    return -_SEVERITY.index(finding.label), finding.score


def _flag(images: Sequence[Image], findings: Sequence[FindingSchema]) -> FlagSchema:
    if findings:
        gravest = max(findings, key=_gravity)
        return FlagSchema(score=gravest.score, label=gravest.label)
    undecodable = any(image.kind == "undecodable" for image in images)
    label = PathoLabelEnum.UNKNOWN if undecodable else PathoLabelEnum.OUT_SCOPE
    return FlagSchema(score=0.0, label=label)


def _report(instances: Sequence[SmarturgencesInstanceSchema], language: str) -> ReportSchema:
    def word(translation: TranslationSchema) -> str:
        return str(getattr(translation, language))

    return ReportSchema(
        title=f"{word(vocabulary.TITLE)} ({word(vocabulary.SIMULATED)})",
        techniques=[word(vocabulary.TECHNIQUE).format(count=len(instances))],
        results=[
            ResultSchema(
                region=", ".join(word(part.translation) for part in instance.body_parts),
                items=[
                    f"{word(finding.translation)}: {word(_WORDS[finding.label])}"
                    for finding in instance.findings
                ]
                or [word(vocabulary.NO_RESULT)],
            )
            for instance in instances
        ],
    )


def _hl7(
    study_instance_uid: str, flag: FlagSchema, findings: Sequence[FindingSchema], language: str
) -> str:
    """An ORU^R01 message without a patient; its control id comes from the study."""
    control = random.Random(study_instance_uid).randrange(10**12)  # noqa: S311  to repeat
    observations = [("FLAG^Flag", flag.label, flag.score)]
    observations += [
        (
            f"{finding.value.upper()}^{getattr(finding.translation, language)}",
            finding.label,
            finding.score,
        )
        for finding in findings
    ]
    segments = [
        f"MSH|^~\\&|SIMULATOR|SIMULATED|||{_TIME}||ORU^R01^ORU_R01|{control}|T|2.5.1",
        "PID|1",
        f"OBR|1|||SIMULATED^{vocabulary.SIMULATED.en}|||{_TIME}{'|' * 18}F",
    ]
    segments += [
        f"OBX|{number}|ST|{code}||{label} ({score})||||||F"
        for number, (code, label, score) in enumerate(observations, start=1)
    ]
    return "\r".join([*segments, ""])
