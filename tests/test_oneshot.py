"""The one-shot coroutines stand in for the vendor's SDK: same names, same order, `await` before."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

import milvue_async
from milvue_async import PredictionFailedError, PredictionTimeoutError, RequestValidationError
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from pathlib import Path

UID = "1.2.3"
# As in the vendor's published Python client.
SIGNATURES = {
    "post": ("api_url", "dcm_list", "token", "params"),
    "get_status": ("api_url", "study_instance_uid", "token"),
    "wait_done": ("api_url", "study_instance_uid", "token", "interval", "timeout", "verbose"),
    "get": ("api_url", "study_instance_uid", "inference_command", "token"),
    "get_smarturgences": ("api_url", "study_instance_uid", "token"),
    "get_smartxpert": ("api_url", "study_instance_uid", "token"),
}
# Named there, and without arguments yet: so like the others.
UNFINISHED = {
    "post_signed_url": ("api_url", "dcm_list", "token", "params"),
    "get_signed_url": ("api_url", "study_instance_uid", "inference_command", "token"),
    "post_interesting": ("api_url", "study_instance_uid", "token"),
}


@pytest.mark.parametrize(("name", "names"), {**SIGNATURES, **UNFINISHED}.items())
def test_the_arguments_are_the_vendors_in_their_order(name: str, names: tuple[str, ...]) -> None:
    function = getattr(milvue_async, name)
    assert inspect.iscoroutinefunction(function)
    parameters = inspect.signature(function).parameters.values()
    positional = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert tuple(each.name for each in positional)[: len(names)] == names
    assert all(each.default is not each.empty for each in positional[len(names) :])
    is_required = [each.default is each.empty for each in positional]
    assert is_required[: names.index("token") + 1] == [True] * (names.index("token") + 1)


def test_the_defaults_of_waiting_are_the_vendors() -> None:
    parameters = inspect.signature(milvue_async.wait_done).parameters
    assert (parameters["interval"].default, parameters["timeout"].default) == (3, 180)
    assert parameters["verbose"].default is False


async def test_the_vendors_example_runs_with_await_before_each_call(
    simulator: Simulator, token: str, tmp_path: Path
) -> None:
    api_url = simulator.url
    dcm_list = [pydicom.dcmread(path) for path in study_files(tmp_path)]
    study_instance_uid = dcm_list[0].StudyInstanceUID

    await milvue_async.post(api_url, dcm_list, token)
    study_status = await milvue_async.wait_done(api_url, study_instance_uid, token)
    assert study_status["status"] == "done"
    for command, get_json in (
        ("smarturgences", milvue_async.get_smarturgences),
        ("smartxpert", milvue_async.get_smartxpert),
    ):
        # One of each image, and the recap.
        dicoms = await milvue_async.get(api_url, study_instance_uid, command, token)
        assert [dicom.StudyInstanceUID for dicom in dicoms] == [study_instance_uid] * 3
        answer: Any = await get_json(api_url, study_instance_uid, token)
        assert answer["StudyInstanceUID"] == study_instance_uid
        assert len(answer["instances"]) == 2
    await milvue_async.post_interesting(api_url, study_instance_uid, token)
    account = simulator.account[str(study_instance_uid)]
    assert (account.submissions, account.flagged) == (1, 1)


async def test_both_ways_of_signed_urls_go_too(
    simulator: Simulator, token: str, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid=UID)
    params = {"organization_id": "o", "site_id": None}
    await milvue_async.post_signed_url(simulator.url, files, token, params)
    assert (await milvue_async.get_status(simulator.url, UID, token)).status == "done"
    results = await milvue_async.get_signed_url(simulator.url, UID, "smartxpert", token)
    assert len(results) == len(files) + 1  # with the recap
    account = simulator.account[UID]
    assert account.post_query == {"organizationId": "o"}
    assert account.result_queries["smartxpert"]["signed_url"] == "true"
    await milvue_async.post(simulator.url, files, token, {"analysis_id": "a"})
    assert simulator.account[UID].post_query == {"analysisId": "a"}


async def test_parameters_of_a_retrieval_are_keywords(
    simulator: Simulator, token: str, tmp_path: Path
) -> None:
    await milvue_async.post(simulator.url, study_files(tmp_path, study_instance_uid=UID), token)
    await milvue_async.get(simulator.url, UID, "smartxpert", token, output_format="gsps")
    assert simulator.account[UID].result_queries["smartxpert"]["output_format"] == "gsps"
    with pytest.raises(RequestValidationError, match="language"):
        await milvue_async.get_smarturgences(simulator.url, UID, token, language="xx")


async def test_a_prediction_that_failed_or_is_late_is_raised_and_not_returned(
    token: str, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid=UID)
    config = SimulatorConfig(inference_seconds=0, outcomes={UID: "error"})
    async with Simulator(config) as simulator:
        await milvue_async.post(simulator.url, files, token)
        with pytest.raises(PredictionFailedError):
            await milvue_async.wait_done(simulator.url, UID, token)
    async with Simulator(SimulatorConfig(inference_seconds=1000)) as simulator:
        await milvue_async.post(simulator.url, files, token)
        with pytest.raises(PredictionTimeoutError):
            await milvue_async.wait_done(simulator.url, UID, token, 0.01, 0.05)


@pytest.mark.parametrize("verbose", [False, True])
async def test_the_last_status_is_logged_where_that_is_wanted(
    simulator: Simulator,
    token: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    verbose: bool,
) -> None:
    await milvue_async.post(simulator.url, study_files(tmp_path, study_instance_uid=UID), token)
    with caplog.at_level(logging.INFO, "milvue_async"):
        await milvue_async.wait_done(simulator.url, UID, token, verbose=verbose)
    said = [each.getMessage() for each in caplog.records if each.name == "milvue_async"]
    assert said == ([f"study {UID}: done"] if verbose else [])
