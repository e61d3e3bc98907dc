"""The HL7 message of the JSON, read by a library that is not ours."""

from __future__ import annotations

import hl7  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.simulator.objects.support import LANGUAGES, source, urgences, with_finding


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_message_is_an_oru_that_says_what_the_json_says(language: str) -> None:
    answer = urgences([with_finding(), source(number=2)], language)
    message = hl7.parse(answer.hl7)
    assert str(message.segment("MSH")[9]) == "ORU^R01^ORU_R01"
    observed = [
        (str(segment[3][0][0][0]), str(segment[3][0][1][0]), str(segment[5]))
        for segment in message.segments("OBX")
    ]
    expected = [("FLAG", "Flag", f"{answer.flag.label} ({answer.flag.score})")]
    expected += [
        (
            finding.value.upper(),
            getattr(finding.translation, language),
            f"{finding.label} ({finding.score})",
        )
        for finding in answer.findings
    ]
    assert observed == expected
    assert {str(segment[11]) for segment in message.segments("OBX")} == {"F"}
