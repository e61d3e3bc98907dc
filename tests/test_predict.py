"""One study all the way, and its results in memory or on disk."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from aiohttp import web

from milvue_async import (
    APIError,
    InvalidStudyError,
    MilvueClient,
    PredictionFailedError,
    PredictionTimeoutError,
)
from milvue_async.outcomes import CommandResult, combined_outcome, outcome_of_error
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files
from tests.fake_clock import FakeClock
from tests.recorder import recorder

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async.routes import Transfer

UID = "1.2.3"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return study_files(tmp_path / "in", study_instance_uid=UID)


@pytest.mark.parametrize("transfer", ["dicomweb", "signed_url"])
async def test_results_are_in_the_outcome(
    client: MilvueClient, files: list[Path], transfer: Transfer
) -> None:
    outcome = await client.predict(files, transfer=transfer)
    assert (outcome.study_instance_uid, outcome.outcome, outcome.error) == (UID, "done", None)
    assert list(outcome.results) == ["smarturgences", "smartxpert"]
    assert outcome.smarturgences is not None
    assert outcome.smartxpert is not None
    for command in outcome.results:
        assert len(outcome.datasets(command)) == len(files) + 1  # with the recap
        assert all(type(each) is pydicom.FileDataset for each in outcome.datasets(command))
    assert outcome.study is files


async def test_results_lie_in_the_folder_as_they_are_named(
    client: MilvueClient, files: list[Path], tmp_path: Path
) -> None:
    outcome = await client.predict(files, output=tmp_path / "out")
    folder = tmp_path / "out" / UID
    found = {path for path in folder.rglob("*") if path.is_file()}
    assert found == {*outcome.paths("smarturgences"), *outcome.paths("smartxpert")}
    assert outcome.datasets("smarturgences") == ()
    written = json.loads((folder / "smarturgences.json").read_text())
    assert outcome.smarturgences is not None
    assert written == json.loads(outcome.smarturgences.to_json())
    assert len(list((folder / "smartxpert").glob("*.dcm"))) == len(files) + 1  # with the recap
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}
    folders = [tmp_path / "out", *(path for path in folder.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


async def test_only_the_commands_that_were_asked_for_are_collected(
    simulator: Simulator, client: MilvueClient, files: list[Path]
) -> None:
    outcome = await client.predict(files, commands="smartxpert")
    assert list(outcome.results) == ["smartxpert"]
    assert outcome.smarturgences is None
    assert simulator.account[UID].deliveries == {"smartxpert": {"dicomweb": 1}}


async def test_a_command_that_is_asked_for_twice_is_collected_once(
    simulator: Simulator, client: MilvueClient, files: list[Path]
) -> None:
    await client.predict(files, commands=["smartxpert", "smartxpert"])
    assert simulator.account[UID].deliveries == {"smartxpert": {"dicomweb": 1}}


async def test_what_was_sent_before_can_be_collected_alone(
    simulator: Simulator, client: MilvueClient, files: list[Path], tmp_path: Path
) -> None:
    await client.post_study(files)
    outcome = await client.collect(UID, output=tmp_path / "out", commands=["smarturgences"])
    assert outcome.outcome == "done"
    assert len(outcome.paths("smarturgences")) == len(files) + 2  # with the recap and the JSON
    assert (outcome.attempts, outcome.upload_s) == (0, 0)
    assert simulator.account[UID].submissions == 1


async def test_a_command_without_a_licence_takes_nothing_from_the_other(
    token: str, files: list[Path]
) -> None:
    config = SimulatorConfig(inference_seconds=0, forbidden_commands=frozenset({"smartxpert"}))
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        outcome = await client.predict(files)
    assert outcome.outcome == "done"
    assert outcome.results["smartxpert"].outcome == "forbidden"
    assert outcome.results["smarturgences"].outcome == "done"
    assert outcome.smartxpert is None


@pytest.mark.parametrize("ends", ["forbidden", "empty"])
async def test_a_study_may_be_forbidden_or_empty_without_an_error(
    token: str, files: list[Path], ends: Any
) -> None:
    config = SimulatorConfig(inference_seconds=0, outcomes={UID: ends})
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        outcome = await client.predict(files)
    assert (outcome.outcome, outcome.error) == (ends, None)
    assert {result.outcome for result in outcome.results.values()} == {ends}


async def test_a_failure_is_raised_as_itself(token: str, files: list[Path]) -> None:
    config = SimulatorConfig(inference_seconds=0, outcomes={UID: "error"})
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        with pytest.raises(PredictionFailedError):
            await client.predict(files)
        with pytest.raises(InvalidStudyError):
            await client.predict([])


async def test_a_prediction_that_is_late_is_raised_as_such(token: str, files: list[Path]) -> None:
    clock = FakeClock()
    config = SimulatorConfig(inference_seconds=100)
    async with (
        Simulator(config, clock=clock.monotonic) as simulator,
        MilvueClient(simulator.url, token, clock=clock) as client,
    ):
        with pytest.raises(PredictionTimeoutError, match="60 s"):
            await client.predict(files, timeout=60)
        assert clock.now == pytest.approx(1060)
        assert (await client.predict(files, timeout=120)).outcome == "done"


async def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(
    client: MilvueClient, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(NotADirectoryError):
        await client.predict(files, output=tmp_path / "out")


async def test_images_that_were_fetched_are_there_though_the_findings_are_not(
    token: str, files: list[Path]
) -> None:
    """The JSON route fails; the DICOM results came before."""
    content = files[0].read_bytes()

    async def answer(request: web.Request) -> web.Response:
        if "/smarturgences/" in request.path:
            return web.json_response({"message": "Error formatting study"}, status=500)
        if request.path.endswith("/status"):
            return web.json_response({"StudyInstanceUID": UID, "status": "done", "version": "1"})
        if request.method == "GET":
            return web.Response(body=content, content_type="application/dicom")
        return web.json_response({"StudyInstanceUID": UID, "message": ""})

    async with recorder(answer) as server, MilvueClient(server.url, token) as client:
        [outcome] = [each async for each in client.process([files], commands="smarturgences")]
        with pytest.raises(APIError, match="Error formatting study"):
            await client.collect(UID, commands="smarturgences")
    assert outcome.outcome == "error"
    assert "Error formatting study" in str(outcome.error)
    result = outcome.results["smarturgences"]
    assert (result.outcome, len(result.datasets), result.prediction) == ("error", 1, None)


ORDER = ["forbidden", "empty", "done", "timed_out", "rejected", "error"]


@pytest.mark.parametrize("first", range(len(ORDER)))
@pytest.mark.parametrize("second", range(len(ORDER)))
def test_a_study_ends_as_the_worst_of_its_commands_or_else_the_best(
    first: int, second: int
) -> None:
    outcomes: list[Any] = [ORDER[first], ORDER[second]]
    results = [CommandResult(str(n), outcome) for n, outcome in enumerate(outcomes)]
    assert combined_outcome(results) == ORDER[max(first, second)]


def test_a_study_of_which_nothing_was_asked_is_empty() -> None:
    assert combined_outcome([]) == "empty"


STORE = "POST /v3/studies"
RETRIEVE = "GET /v3/studies/{study_instance_uid}"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (APIError("m", status=400, route=STORE), "rejected"),
        (APIError("m", status=413, route=STORE), "rejected"),
        (APIError("m", status=408, route=STORE, retryable=True), "error"),
        (APIError("m", status=400, route=RETRIEVE), "error"),
        (InvalidStudyError("m"), "rejected"),
        (PredictionTimeoutError("m"), "timed_out"),
        (PredictionFailedError("m"), "error"),
        (OSError(28, "No space left on device"), "error"),
        (LookupError("m"), "error"),
    ],
)
def test_a_failure_is_the_studys_own_only_where_it_was_refused(
    error: Exception, outcome: str
) -> None:
    assert outcome_of_error(error) == outcome
