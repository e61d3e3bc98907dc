"""What the simulator refuses, and the body it says so with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jsonschema import ValidationError  # type: ignore[import-untyped]  # stubs apart

from tests.dicom_files import study_files
from tests.simulator import contract
from tests.simulator.support import KEY, OTHER_KEY, Api, multipart

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Answer

ROUTES = [
    ("POST", "/v3/studies"),
    ("GET", "/v3/studies/1.2.3/status"),
    ("GET", "/v3/studies/1.2.3?inference_command=smarturgences"),
    ("GET", "/v3/smarturgences/1.2.3"),
    ("GET", "/v3/smartxpert/1.2.3"),
    ("POST", "/v3/interesting/1.2.3"),
]


def message(answer: Answer) -> str:
    assert list(answer.json()) == ["message"]
    return str(answer.json()["message"])


def test_answers_are_held_against_the_openapi_document() -> None:
    if not contract.DOCUMENT.exists():
        pytest.skip("reference document not here: the vendor's OpenAPI document")
    with pytest.raises(ValidationError):
        contract.check("GET", "/v3/studies/1.2/status", 200, "application/json", b"{}")
    with pytest.raises(AssertionError):
        contract.check("GET", "/v3/studies/1.2/status", 418, "application/json", b"{}")


@pytest.mark.parametrize("key", ["", "secret", KEY.replace("-", ""), KEY.replace("-4", "-1")])
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_key_that_is_no_uuid_v4_is_forbidden(
    api: Api, method: str, path: str, key: str
) -> None:
    answer = await api.request(method, path, headers={"x-goog-meta-owner": key})
    assert answer.status == 403
    assert "x-goog-meta-owner" in message(answer)


async def test_only_configured_keys_are_let_in(
    start_simulator: StartSimulator, tmp_path: Path
) -> None:
    api = await start_simulator(api_keys=frozenset({KEY}))
    await api.submit(study_files(tmp_path))
    stranger = Api(api.session, api.simulator, {"x-goog-meta-owner": OTHER_KEY})
    assert (await stranger.post_study(study_files(tmp_path))).status == 403


@pytest.mark.parametrize(("method", "path"), ROUTES[1:])
async def test_an_unknown_study_is_not_found(api: Api, method: str, path: str) -> None:
    answer = await api.request(method, path)
    assert (answer.status, message(answer)) == (404, "Study not found")


@pytest.mark.parametrize(
    "path", ["/v2", "/v3", "/v3/studies/1.2/series", "/v3/studies/..%2F..%2Fx/status"]
)
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    answer = await api.request("GET", path)
    assert answer.status == 404
    assert message(answer)


async def test_a_wrong_method_is_not_allowed_and_told_the_right_one(api: Api) -> None:
    answer = await api.request("DELETE", "/v3/studies")
    assert (answer.status, message(answer)) == (405, "Method Not Allowed")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "GET"])
async def test_a_get_route_does_not_answer_head(api: Api, path: str) -> None:
    async with api.session.head(f"{api.simulator.url}{path}", headers=api.headers) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("query", "name", "kind"),
    [
        ({}, "inference_command", "value_error.missing"),
        ({"inference_command": "trauma"}, "inference_command", "type_error.enum"),
        ({"output_format": "png"}, "output_format", "type_error.enum"),
        ({"language": "nl"}, "language", "type_error.enum"),
        ({"output_selection": "some"}, "output_selection", "type_error.enum"),
        ({"recap_theme": "pink"}, "recap_theme", "type_error.enum"),
        ({"structured_report_format": "x"}, "structured_report_format", "type_error.enum"),
        ({"static_report_format": "x"}, "static_report_format", "type_error.enum"),
        ({"signed_url": "perhaps"}, "signed_url", "type_error.bool"),
    ],
)
async def test_an_unknown_parameter_value_is_told_in_detail(
    api: Api, query: dict[str, str], name: str, kind: str
) -> None:
    required = {} if name == "inference_command" else {"inference_command": "smarturgences"}
    answer = await api.get("/v3/studies/1.2.3", **required, **query)
    assert answer.status == 422
    (problem,) = answer.json()["detail"]
    assert (problem["loc"], problem["type"]) == (["query", name], kind)


async def test_every_wrong_parameter_is_told_at_once(api: Api) -> None:
    answer = await api.get("/v3/studies/1.2.3", language="xx", output_format="xx")
    places = {problem["loc"][1] for problem in answer.json()["detail"]}
    assert places == {"inference_command", "language", "output_format"}


async def test_an_unknown_language_of_a_prediction_is_told(api: Api) -> None:
    answer = await api.get("/v3/smarturgences/1.2.3", language="nl")
    assert answer.status == 422
    assert "'fr', 'en', 'es', 'de', 'it', 'pt'" in answer.json()["detail"][0]["msg"]


async def test_a_submission_with_a_wrong_boolean_is_told(api: Api) -> None:
    assert (await api.post_body(b"", signed_url="perhaps")).status == 422


@pytest.mark.parametrize("value", ["False", "false", "0", "no", "off", "F"])
async def test_booleans_are_those_of_pydantic(api: Api, tmp_path: Path, value: str) -> None:
    answer = await api.post_study(study_files(tmp_path), signed_url=value)
    assert "signed_urls" not in answer.json()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "The body is empty"),
        (b"garbage", "without its closing boundary"),
        (b"--frontier--\r\n", "no part"),
        (multipart([b"not DICOM"]), "Part 1 is not a whole DICOM file"),
        (multipart([b""]), "Part 1 is not a whole DICOM file"),
    ],
)
async def test_a_body_that_is_no_study_is_a_bad_request(api: Api, body: bytes, reason: str) -> None:
    answer = await api.post_body(body)
    assert answer.status == 400
    assert reason in message(answer)


@pytest.mark.parametrize("content_type", ["application/dicom", "multipart/related", "x"])
async def test_a_content_type_without_boundary_is_a_bad_request(
    api: Api, tmp_path: Path, content_type: str
) -> None:
    answer = await api.post_body(multipart(study_files(tmp_path)), content_type)
    assert answer.status == 400
    assert "Content-Type" in message(answer)


async def test_a_multipart_that_ends_cleanly_but_too_soon_is_a_bad_request(
    api: Api, tmp_path: Path
) -> None:
    whole = multipart(study_files(tmp_path))
    for cut in (len(whole) // 3, len(whole) - len(b"--frontier--\r\n"), len(whole) - 3):
        answer = await api.post_body(whole[:cut])
        assert answer.status == 400
        assert "closing boundary" in message(answer)
    assert api.simulator.account == {}


async def test_a_cut_file_is_a_bad_request_that_names_the_part(api: Api, tmp_path: Path) -> None:
    first, second = study_files(tmp_path)
    answer = await api.post_study([first, second.read_bytes()[:-100]])
    assert answer.status == 400
    assert "Part 2 is not a whole DICOM file" in message(answer)
    assert api.simulator.account == {}


async def test_instances_of_two_studies_are_a_bad_request(api: Api, tmp_path: Path) -> None:
    files = study_files(tmp_path, seed=1) + study_files(tmp_path, seed=2)
    answer = await api.post_study(files)
    assert answer.status == 400
    assert "more than one StudyInstanceUID" in message(answer)
    assert api.simulator.account == {}


async def test_a_body_that_does_not_decode_is_a_bad_request(api: Api) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "multipart/related; boundary=b"}
    answer = await api.request("POST", "/v3/studies", body=b"no gzip", headers=headers)
    assert answer.status == 400


async def test_a_body_over_the_limit_is_too_large(
    start_simulator: StartSimulator, tmp_path: Path
) -> None:
    body = multipart(study_files(tmp_path))
    api = await start_simulator(max_body_bytes=len(body) - 1)
    answer = await api.post_body(body)
    assert answer.status == 413
    assert str(len(body) - 1) in message(answer)
    api = await start_simulator(max_body_bytes=len(body))
    assert (await api.post_body(body)).status == 200


@pytest.mark.parametrize(("retry_after", "header"), [(None, None), (1.5, "2"), (30, "30")])
async def test_beyond_the_quota_a_submission_is_refused(
    start_simulator: StartSimulator, tmp_path: Path, retry_after: float | None, header: str | None
) -> None:
    api = await start_simulator(quota_studies=2, retry_after=retry_after)
    await api.submit(study_files(tmp_path, seed=1))
    await api.submit(study_files(tmp_path, seed=2))
    answer = await api.post_study(study_files(tmp_path, seed=3))
    assert (answer.status, message(answer)) == (429, "Exceeded quota")
    assert answer.headers.get("Retry-After") == header


async def test_a_refused_submission_uses_no_quota(
    start_simulator: StartSimulator, tmp_path: Path
) -> None:
    api = await start_simulator(quota_studies=1)
    assert (await api.post_body(b"garbage")).status == 400
    await api.submit(study_files(tmp_path))


async def test_refusals_hold_no_patient_attribute(api: Api, tmp_path: Path) -> None:
    file = study_files(tmp_path)[0].read_bytes()
    for cut in range(200, len(file), len(file) // 50):
        text = message(await api.post_study([file[:cut]]))
        assert "Phantom" not in text
        assert "PHANTOM" not in text
