"""Every route of the client, both ways: what goes out, what comes back, and how it waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from milvue_async import (
    ConfigurationError,
    InvalidUIDError,
    MilvueClient,
    NotFoundError,
    PredictionError,
    ProtocolError,
    RequestValidationError,
)
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files
from tests.recorder import recorder, saying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from milvue_async.routes import Transfer

    Call = Callable[[MilvueClient], Awaitable[Any]]

UID = "1.2.3"
TRANSFERS = ["dicomweb", "signed_url"]
COMMANDS = ["smarturgences", "smartxpert"]
DONE = {"StudyInstanceUID": UID, "status": "done", "version": "1", "instances": []}
FINDINGS = {**DONE, "flag": {"score": 0, "label": "normal"}, "hl7": "", "findings": []}
RETRIEVE = {
    "output_format": "gsps",
    "language": "fr",
    "timezone": "Europe/Paris",
    "output_selection": "no_recap",
    "recap_theme": "light",
    "structured_report_format": "full",
    "static_report_format": "pdf",
}
STORE = {"organization_id": "o/1", "site_id": "s 2", "analysis_id": "a&3"}
ON_THE_WIRE = {"organizationId": "o/1", "siteId": "s 2", "analysisId": "a&3"}


def status(value: str) -> dict[str, str]:
    return {"StudyInstanceUID": UID, "status": value, "version": "1"}


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_a_study_goes_through_every_route(
    simulator: Simulator, client: MilvueClient, tmp_path: Path, transfer: Transfer
) -> None:
    files = study_files(tmp_path, study_instance_uid=UID)
    posted = await client.post_study(files, transfer=transfer)
    assert posted.StudyInstanceUID == UID
    assert (await client.wait_done(UID)).status == "done"
    assert (await client.get_status(UID)).status == "done"
    for command in COMMANDS:
        datasets = await client.get_results(UID, command, transfer=transfer)
        paths = await client.download_results(UID, command, tmp_path / command, transfer=transfer)
        assert len(datasets) == len(paths) == len(files) + 1  # with the recap
        assert {str(each.SOPInstanceUID) for each in datasets} == {path.stem for path in paths}
    assert len((await client.get_smarturgences(UID)).instances) == 2
    assert len((await client.get_smartxpert(UID)).instances) == 2
    await client.post_interesting(UID)
    account = simulator.account[UID]
    assert (account.submissions, account.flagged) == (1, 1)
    assert account.json_deliveries == {"smarturgences": 1, "smartxpert": 1}
    assert account.deliveries == {command: {transfer: 2} for command in COMMANDS}


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_every_parameter_of_a_submission_arrives(
    simulator: Simulator, client: MilvueClient, tmp_path: Path, transfer: Transfer
) -> None:
    files = study_files(tmp_path, study_instance_uid=UID)
    await client.post_study(
        files, transfer=transfer, organization_id="o/1", site_id="s 2", analysis_id="a&3"
    )
    assert simulator.account[UID].post_query == ON_THE_WIRE


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_every_parameter_of_a_retrieval_arrives(
    simulator: Simulator, client: MilvueClient, tmp_path: Path, transfer: Transfer
) -> None:
    await client.post_study(study_files(tmp_path, study_instance_uid=UID))
    parameters: Any = RETRIEVE
    await client.get_results(UID, "smartxpert", transfer=transfer, **parameters)
    await client.download_results(
        UID, "smarturgences", tmp_path / "out", transfer=transfer, **parameters
    )
    signed_url = "true" if transfer == "signed_url" else "false"
    assert simulator.account[UID].result_queries == {
        command: {"inference_command": command, "signed_url": signed_url, **RETRIEVE}
        for command in COMMANDS
    }


async def test_the_language_of_findings_arrives(token: str) -> None:
    async with recorder(saying(FINDINGS)) as server, MilvueClient(server.url, token) as client:
        await client.get_smarturgences(UID, language="pt")
        assert server.last.query == {"language": "pt"}
        await client.get_smarturgences(UID)
        assert server.last.query == {}


async def test_predict_sends_each_parameter_to_the_route_that_has_it(
    simulator: Simulator, client: MilvueClient, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid=UID)
    parameters: Any = {**STORE, **RETRIEVE, "timezone": None}
    outcome = await client.predict(files, **parameters)
    assert outcome.outcome == "done"
    account = simulator.account[UID]
    assert account.post_query == ON_THE_WIRE
    for command in COMMANDS:
        sent = dict(account.result_queries[command])
        assert "timezone" not in sent
        assert sent["recap_theme"] == "light"


CALLS: list[Call] = [
    lambda client: client.get_status(UID),
    lambda client: client.wait_done(UID),
    lambda client: client.get_smartxpert(UID),
    lambda client: client.get_results(UID, "smartxpert"),
    lambda client: client.get_results(UID, "smartxpert", transfer="signed_url"),
    lambda client: client.post_interesting(UID),
]


@pytest.mark.parametrize("call", CALLS)
async def test_every_request_carries_the_key_in_its_one_header(call: Call, token: str) -> None:
    async with recorder(saying(DONE)) as server, MilvueClient(server.url, token) as client:
        await call(client)
        assert server.requests
        for request in server.requests:
            assert request.headers["x-goog-meta-owner"] == token
            others = {**request.headers, "x-goog-meta-owner": ""}
            assert token not in json.dumps([others, request.path, request.query])


@pytest.mark.parametrize("call", CALLS)
async def test_a_study_that_was_never_sent_is_not_found(call: Call, client: MilvueClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        await call(client)
    assert caught.value.status == 404
    assert caught.value.study_instance_uid == UID


RESULTS: list[Call] = [
    lambda client: client.get_results(UID, "smartxpert"),
    lambda client: client.get_results(UID, "smartxpert", transfer="signed_url"),
    lambda client: client.get_smartxpert(UID),
    lambda client: client.get_smarturgences(UID),
]

BAD_UID_CALLS: list[Call] = [
    lambda client: client.get_status("../x"),
    lambda client: client.wait_done("../x"),
    lambda client: client.get_smartxpert("../x"),
    lambda client: client.get_smarturgences("../x"),
    lambda client: client.get_results("../x", "smartxpert"),
    lambda client: client.download_results("../x", "smartxpert", "/nowhere"),
    lambda client: client.post_interesting("../x"),
    lambda client: client.collect("../x"),
]


@pytest.mark.parametrize("call", BAD_UID_CALLS)
async def test_what_is_no_uid_becomes_no_request(call: Call, token: str) -> None:
    async with recorder(saying(DONE)) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(InvalidUIDError):
            await call(client)
        assert server.requests == []


async def test_a_client_that_is_not_open_says_so(token: str, tmp_path: Path) -> None:
    client = MilvueClient("http://127.0.0.1:9", token)
    with pytest.raises(ConfigurationError, match="async with"):
        await client.get_status(UID)
    with pytest.raises(ConfigurationError, match="async with"):
        await client.predict(study_files(tmp_path))


async def test_a_client_can_be_opened_again(simulator: Simulator, token: str) -> None:
    client = MilvueClient(simulator.url, token)
    for _ in range(2):
        async with client:
            with pytest.raises(NotFoundError):
                await client.get_status(UID)


@pytest.mark.parametrize("transfer", TRANSFERS)
async def test_an_empty_result_is_no_error(token: str, tmp_path: Path, transfer: Transfer) -> None:
    config = SimulatorConfig(inference_seconds=0, outcomes={UID: "empty"})
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        await client.post_study(study_files(tmp_path, study_instance_uid=UID))
        assert await client.get_results(UID, "smartxpert", transfer=transfer) == []
        folder = tmp_path / "out"
        assert await client.download_results(UID, "smartxpert", folder, transfer=transfer) == []
        assert not folder.exists()
        assert (await client.get_smartxpert(UID)).instances == []


async def test_a_prediction_that_is_said_to_be_empty_is_none(token: str) -> None:
    async with (
        recorder(saying(status("empty"))) as server,
        MilvueClient(server.url, token) as client,
    ):
        with pytest.raises(PredictionError, match="empty") as caught:
            await client.get_smartxpert(UID)
    assert type(caught.value) is PredictionError


@pytest.mark.parametrize("call", [*RESULTS, CALLS[0], CALLS[1]])
async def test_an_answer_about_another_study_is_refused(call: Call, token: str) -> None:
    answer = {**FINDINGS, "StudyInstanceUID": "1.2.4"}
    async with recorder(saying(answer)) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(ProtocolError, match="another study"):
            await call(client)


async def test_a_value_that_the_server_does_not_know_is_named(
    client: MilvueClient, tmp_path: Path
) -> None:
    await client.post_study(study_files(tmp_path, study_instance_uid=UID))
    with pytest.raises(RequestValidationError, match="language") as caught:
        await client.get_results(UID, "smartxpert", language="xx")
    assert [detail.loc for detail in caught.value.details] == [["query", "language"]]


BAD_OPTIONS: list[dict[str, Any]] = [
    {"transfer": "carrier pigeon"},
    {"commands": []},
    {"commands": ["../x"]},
    {"commands": [""]},
    {"colour": "blue"},
    {"organizationId": "o"},
]


@pytest.mark.parametrize("options", BAD_OPTIONS, ids=str)
async def test_an_option_that_cannot_work_is_refused_before_the_study_is_paid_for(
    options: dict[str, Any], token: str, tmp_path: Path
) -> None:
    files = study_files(tmp_path)
    async with recorder(saying(DONE)) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(ConfigurationError):
            await client.predict(files, **options)
        with pytest.raises(ConfigurationError):
            client.process([files], **options)
        assert server.requests == []


@pytest.mark.parametrize("options", [{"transfer": "pigeon"}, {"language": "fr"}, {"siteId": "s"}])
async def test_a_submission_takes_no_other_parameters_than_its_own(
    options: dict[str, Any], token: str, tmp_path: Path
) -> None:
    async with recorder(saying(DONE)) as server, MilvueClient(server.url, token) as client:
        with pytest.raises(ConfigurationError):
            await client.post_study(study_files(tmp_path), **options)
        assert server.requests == []
