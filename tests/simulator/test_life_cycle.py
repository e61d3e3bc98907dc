"""A study from its submission to its results, and what the account says of it."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import anyio
import pytest

from milvue_async.simulator import SimulatorConfig
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Api, Clock


async def test_a_study_runs_for_the_scripted_time_then_is_done(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid = await api.submit(study_files(tmp_path))
    assert await api.status(uid) == "running"
    clock.now += 1.9
    assert await api.status(uid) == "running"
    clock.now += 0.2
    assert await api.status(uid) == "done"


async def test_a_submission_is_answered_with_its_study_and_where_to_get_it(
    api: Api, tmp_path: Path
) -> None:
    answer = (await api.post_study(study_files(tmp_path))).json()
    assert answer["retrieve_url"].endswith(f"/v3/studies/{answer['StudyInstanceUID']}")
    assert answer["retrieve_url"].startswith(api.simulator.url)
    assert answer["message"]


async def test_a_running_study_has_no_results_yet(api: Api, tmp_path: Path) -> None:
    uid = await api.submit(study_files(tmp_path))
    for path in (f"/v3/smarturgences/{uid}", f"/v3/smartxpert/{uid}"):
        assert (await api.get(path)).json()["status"] == "running"
    assert (await api.results(uid)).json()["status"] == "running"
    assert (await api.results(uid, signed_url="true")).json()["status"] == "running"


@pytest.mark.parametrize("accept", ["*/*", 'multipart/related; type="application/dicom"'])
async def test_a_status_comes_inside_the_multipart_to_whom_accepts_no_json(
    api: Api, tmp_path: Path, accept: str
) -> None:
    uid = await api.submit(study_files(tmp_path))
    answer = await api.get(f"/v3/studies/{uid}", accept=accept, inference_command="smarturgences")
    ((kind, content),) = answer.parts()
    assert kind == "application/json"
    assert b'"status":"running"' in content


async def test_results_may_lag_behind_the_status(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(inference_seconds=2, json_lag_seconds=1)
    uid = await api.submit(study_files(tmp_path))
    clock.now += 2.5
    assert await api.status(uid) == "done"
    assert (await api.get(f"/v3/smarturgences/{uid}")).json()["status"] == "running"
    assert (await api.results(uid)).json()["status"] == "running"
    clock.now += 0.6
    assert (await api.get(f"/v3/smarturgences/{uid}")).json()["status"] == "done"


async def test_a_failed_study_says_error_and_has_no_results(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid="1.2.3")
    api = await start_simulator(outcomes={"1.2.3": "error"})
    uid = await api.submit(files)
    assert await api.status(uid) == "running"
    clock.now += 2
    assert await api.status(uid) == "error"
    assert (await api.results(uid)).status == 400
    for command in ("smarturgences", "smartxpert"):
        answer = await api.get(f"/v3/{command}/{uid}")
        assert (answer.status, answer.json()) == (
            400,
            {"message": "The prediction of this study failed"},
        )


async def test_a_forbidden_study_has_no_results_of_any_command(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid="1.2.3")
    api = await start_simulator(outcomes={"1.2.3": "forbidden"})
    uid = await api.submit(files)
    clock.now += 2
    assert await api.status(uid) == "done"
    for command in ("smarturgences", "smartxpert"):
        assert (await api.results(uid, command)).json()["status"] == "forbidden"
        assert (await api.get(f"/v3/{command}/{uid}")).json()["status"] == "forbidden"


async def test_a_forbidden_command_leaves_the_other_one(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(forbidden_commands=frozenset({"smartxpert"}))
    uid = await api.submit(study_files(tmp_path))
    clock.now += 2
    assert (await api.get(f"/v3/smartxpert/{uid}")).json()["status"] == "forbidden"
    assert (await api.results(uid, "smartxpert")).json()["status"] == "forbidden"
    assert (await api.get(f"/v3/smarturgences/{uid}")).json()["status"] == "done"


async def test_an_empty_study_is_a_multipart_without_parts(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid="1.2.3")
    api = await start_simulator(outcomes={"1.2.3": "empty"})
    uid = await api.submit(files)
    clock.now += 2
    answer = await api.results(uid)
    boundary = answer.content_type.rpartition("boundary=")[2]
    assert answer.body == f"--{boundary}--\r\n".encode()
    assert len(answer.body) == 38  # by which the vendor's client knows it
    signed = (await api.results(uid, signed_url="true")).json()
    assert (signed["status"], signed["signed_urls"]) == ("empty", [])
    assert (await api.get(f"/v3/smarturgences/{uid}")).json()["instances"] == []
    assert (await api.get(f"/v3/smartxpert/{uid}")).json()["instances"] == []


async def test_a_known_study_sent_again_runs_again_and_is_counted(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path)
    uid = await api.submit(files)
    clock.now += 2
    assert await api.status(uid) == "done"
    assert await api.submit(files) == uid
    assert await api.status(uid) == "running"
    account = api.simulator.account[uid]
    assert account.submissions == 2
    assert {instance.received for instance in account.instances.values()} == {2}


async def test_the_account_tells_what_came_in_and_what_went_out(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3)
    answer = await api.post_study(files, organizationId="o 1", siteId="s", analysisId="a")
    uid = answer.json()["StudyInstanceUID"]
    await api.status(uid)
    clock.now += 3
    await api.status(uid)
    await api.results(uid, language="fr")
    await api.get(f"/v3/smartxpert/{uid}")
    await api.request("POST", f"/v3/interesting/{uid}")

    account = api.simulator.account[uid]
    received = {(item.size, item.sha256) for item in account.instances.values()}
    sent = {(f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files}
    assert received == sent
    assert [item.received for item in account.instances.values()] == [1, 1, 1]
    assert account.missing == frozenset()
    assert account.post_query == {"organizationId": "o 1", "siteId": "s", "analysisId": "a"}
    assert account.result_queries["smarturgences"]["language"] == "fr"
    assert (account.submissions, account.status_polls, account.flagged) == (1, 2, 1)
    assert account.deliveries == {"smarturgences": {"dicomweb": 1}}
    assert account.json_deliveries == {"smartxpert": 1}
    assert account.status == "done"
    assert (account.complete_at, account.finished_at) == (1000, 1002)
    assert account.seen_finished_at == 1003


async def test_many_studies_at_once_lose_nothing_and_double_nothing(
    api: Api, tmp_path: Path
) -> None:
    studies = [study_files(tmp_path, instances=2, seed=seed) for seed in range(20)]
    async with anyio.create_task_group() as tasks:
        for files in studies:
            tasks.start_soon(api.submit, files)
    accounts = api.simulator.account.values()
    assert len(accounts) == 20
    assert {account.submissions for account in accounts} == {1}
    received = {item.sha256 for account in accounts for item in account.instances.values()}
    sent = {hashlib.sha256(file.read_bytes()).hexdigest() for files in studies for file in files}
    assert received == sent


async def test_a_known_study_can_be_flagged(api: Api, tmp_path: Path) -> None:
    uid = await api.submit(study_files(tmp_path))
    answer = await api.request("POST", f"/v3/interesting/{uid}")
    assert (answer.status, answer.json()) == (200, None)


async def test_the_parts_of_a_result_are_gzipped_on_request(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path)
    plain, gzipped = await start_simulator(), await start_simulator(gzip_parts=True)
    answers = []
    for api in (plain, gzipped):
        uid = await api.submit(files)
        clock.now += 2
        answers.append((await api.results(uid)).parts())
    assert {kind for kind, _ in answers[1]} == {"application/dicom+gzip"}
    assert [gzip.decompress(content) for _, content in answers[1]] == [
        body for _, body in answers[0]
    ]


def test_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="'broken' is not one of done, error, forbidden, empty"):
        SimulatorConfig(outcomes={"1.2": "broken"})  # type: ignore[dict-item]  # on purpose
