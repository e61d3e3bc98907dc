"""Every route, parameter and state: each answer is held against both OpenAPI documents.

`Api.request` does that to any answer, here as in the other tests; here no case is left out.
"""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.dicom_files import study_files
from tests.simulator import contract
from tests.simulator.support import ACCEPT, multipart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Api, Clock

COMMANDS = ("smarturgences", "smartxpert")
ACCEPTED = (ACCEPT, "*/*", 'multipart/related; type="application/dicom"', "application/json")
MULTIPART = "multipart/related; boundary=frontier"

# What a request to any route of a study is answered, by the state of the study.
STATES = {
    "unknown": {404},
    "receiving": {404},
    "waiting": {200},
    "running": {200},
    "lagging": {200},
    "done": {200},
    "empty": {200},
    "forbidden": {200},
    "error": {200, 400},  # 200 to /status and /interesting
}
SENT = [state for state in STATES if state not in ("unknown", "receiving")]
OUTCOMES = {"error": "error", "empty": "empty", "forbidden": "forbidden"}

# Parameter to values of which the last one is wrong, if any is.
VALUES = {
    "signed_url": ["true", "false", "1", "perhaps"],
    "output_format": ["overlay", "highbit", "gsps", "png"],
    "language": ["fr", "en", "es", "de", "it", "pt", "nl"],
    "output_selection": ["all", "no_recap", "no_negatives", "none", "some"],
    "recap_theme": ["dark", "light", "pink"],
    "structured_report_format": ["lite", "normal", "full", "none", "long"],
    "static_report_format": ["rgb", "pdf", "none", "html"],
    "timezone": ["Europe/Paris", "UTC"],
}


def uid_of(state: str) -> str:
    return f"1.2.840.{1 + list(STATES).index(state)}"


@pytest.fixture
async def api_of_states(start_simulator: StartSimulator, clock: Clock, tmp_path: Path) -> Api:
    """A simulator with a study in each state; inference takes a second, one after the other."""
    api = await start_simulator(
        inference_seconds=1,
        slots=1,
        json_lag_seconds=1,
        outcomes={uid_of(state): outcome for state, outcome in OUTCOMES.items()},
    )
    finished_first = ["done", "empty", "forbidden", "error", "lagging", "running", "waiting"]
    assert sorted(finished_first) == sorted(SENT)
    for state in finished_first:
        files = study_files(tmp_path / state, instances=1, study_instance_uid=uid_of(state))
        await api.submit(files)
    announced = study_files(tmp_path / "a", study_instance_uid=uid_of("receiving"))
    assert (await api.post_study(announced, signed_url="true")).status == 200
    clock.now += 5.5
    return api


def retrievals() -> Iterator[dict[str, str]]:
    """Queries of the retrieval of DICOM results: each value once, beside what is required."""
    for command in COMMANDS:
        yield {"inference_command": command}
        for name, values in VALUES.items():
            yield from ({"inference_command": command, name: value} for value in values)
    yield {}
    yield {"inference_command": "trauma"}


def is_wrong(query: dict[str, str]) -> bool:
    if query.get("inference_command") not in COMMANDS:
        return True
    return any(query.get(name) == VALUES[name][-1] for name in VALUES if name != "timezone")


@pytest.mark.parametrize("state", STATES)
async def test_dicom_results_by_every_parameter(api_of_states: Api, state: str) -> None:
    path = f"/v3/studies/{uid_of(state)}"
    expected = STATES[state] - {200} or {200}
    for query in retrievals():
        answer = await api_of_states.get(path, accept=ACCEPT, **query)
        assert {answer.status} == ({422} if is_wrong(query) else expected), query


@pytest.mark.parametrize("accept", ACCEPTED)
@pytest.mark.parametrize("state", STATES)
async def test_dicom_results_to_any_accept_header(
    api_of_states: Api, state: str, accept: str
) -> None:
    path = f"/v3/studies/{uid_of(state)}"
    for command, signed_url in product(COMMANDS, ("true", "false")):
        query = {"inference_command": command, "signed_url": signed_url}
        answer = await api_of_states.get(path, accept=accept, **query)
        assert answer.status in STATES[state]
        if answer.content_type.startswith("multipart/") and state not in ("done", "empty"):
            ((kind, content),) = answer.parts()
            contract.check("GET", path, answer.status, kind, content)
            assert "status" in json.loads(content)


@pytest.mark.parametrize("state", STATES)
async def test_the_routes_that_answer_json(api_of_states: Api, state: str) -> None:
    uid = uid_of(state)
    answers = [
        await api_of_states.get(f"/v3/studies/{uid}/status"),
        await api_of_states.request("POST", f"/v3/interesting/{uid}"),
        await api_of_states.get(f"/v3/smartxpert/{uid}"),
    ]
    for language in VALUES["language"]:
        answer = await api_of_states.get(f"/v3/smarturgences/{uid}", language=language)
        if language == VALUES["language"][-1]:
            assert answer.status == 422
        else:
            answers.append(answer)
    assert {answer.status for answer in answers} == STATES[state]


@pytest.mark.parametrize("signed_url", VALUES["signed_url"])
async def test_submissions_by_every_parameter(api: Api, tmp_path: Path, signed_url: str) -> None:
    files = study_files(tmp_path)
    for name, accept in product(("organizationId", "siteId", "analysisId"), ACCEPTED):
        query = {"signed_url": signed_url, name: "a & <b> ü"}
        headers = {"Content-Type": MULTIPART, "Accept": accept}
        answer = await api.request(
            "POST", "/v3/studies", body=multipart(files), headers=headers, **query
        )
        assert answer.status == (422 if signed_url == "perhaps" else 200)


@pytest.mark.parametrize(
    ("method", "template"),
    [
        ("POST", "/v3/studies"),
        ("GET", "/v3/studies/{}"),
        ("GET", "/v3/studies/{}/status"),
        ("GET", "/v3/smarturgences/{}"),
        ("GET", "/v3/smartxpert/{}"),
        ("POST", "/v3/interesting/{}"),
    ],
)
async def test_every_documented_answer_of_a_route_is_given(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, method: str, template: str
) -> None:
    if not contract.DOCUMENT.exists():
        pytest.skip("reference document not here: the vendor's OpenAPI document")
    api = await start_simulator(requests_per_second=1, inference_seconds=0)
    files = study_files(tmp_path, instances=1)
    uid = await api.submit(files)
    clock.now += 1
    has_body = (method, template) == ("POST", "/v3/studies")

    async def ask(uid: str = uid, headers: dict[str, str] | None = None, **query: str) -> int:
        needed = {} if template != "/v3/studies/{}" else {"inference_command": "smartxpert"}
        answer = await api.request(
            method,
            template.format(uid),
            body=multipart(files) if has_body else None,
            headers={"Content-Type": MULTIPART, **(headers or {})},
            **{**needed, **query},
        )
        clock.now += 1
        return answer.status

    seen = {
        await ask(),
        await ask("9.9.9"),
        await ask(headers={"Host": ":"}),
        await ask(headers={"x-goog-meta-owner": "nobody"}),
        await ask(signed_url="perhaps", language="nl"),
    }
    clock.now -= 1
    seen.add(await ask())
    documented = set(map(int, contract.vendor().operation(method, template)["responses"]))
    without_parameters = template.endswith(("status", "smartxpert/{}", "interesting/{}"))
    if without_parameters:
        documented.remove(422)  # there is nothing to be wrong
    if has_body:
        documented.remove(404)  # nor is a study asked for
    assert seen == documented
