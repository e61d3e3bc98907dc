"""What the page is told, and the files that it is made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pydicom
import pytest

from milvue_async.dicom import dataset_to_bytes
from tests.dicom_files import study_files
from tests.simulator.support import Api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Clock

FILES = {
    "/": "text/html; charset=utf-8",
    "/page/page.css": "text/css; charset=utf-8",
    "/page/page.js": "text/javascript; charset=utf-8",
    "/page/icon.svg": "image/svg+xml",
}


async def overview(api: Api) -> Any:
    keyless = Api(api.session, api.simulator, headers={})
    answer = await keyless.get("/control/overview")
    assert answer.status == 200, answer.body
    return answer.json()


async def submit(api: Api, folder: Path, uid: str, **study: Any) -> str:
    return await api.submit(study_files(folder / uid, study_instance_uid=uid, **study))


async def test_a_new_simulator_has_nothing_to_tell(start_simulator: StartSimulator) -> None:
    told = await overview(await start_simulator(slots=3))
    stages = ("receiving", "waiting", "running", "done", "empty", "error", "forbidden")
    assert told == {
        "counts": dict.fromkeys(stages, 0),
        "slots": {"busy": 0, "total": 3},
        "waiting": [],
        "faults": [],
        "studies": [],
        "left_out": 0,
    }


async def test_a_study_is_told_of_with_all_that_became_of_it(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3, study_instance_uid="1.2.3")
    await api.post_study(files, organizationId="o")
    clock.now += 3
    await api.post_study(files, siteId="s")
    clock.now += 3
    await api.status("1.2.3")
    await api.results("1.2.3")
    await api.results("1.2.3", "smartxpert")
    await api.get("/v3/smartxpert/1.2.3")
    assert (await overview(api))["studies"] == [
        {
            "study_instance_uid": "1.2.3",
            "stage": "done",
            "instances": 3,
            "missing": 0,
            "bytes": sum(file.stat().st_size for file in files),
            "submissions": 2,
            "status_polls": 1,
            "deliveries": 3,
            "first_seen": 1000.0,
            "sent_with": {"siteId": "s"},
        }
    ]


async def test_an_announced_study_is_received_until_its_last_instance_is_there(
    api: Api, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3, study_instance_uid="1.2.3")
    urls = (await api.post_study(files, signed_url="true")).json()["signed_urls"]
    for missing, file in zip((3, 2, 1), files, strict=True):
        (study,) = (await overview(api))["studies"]
        assert (study["stage"], study["instances"]) == ("receiving", 3)
        assert study["missing"] == missing
        url = urls[pydicom.dcmread(file).SOPInstanceUID]
        await api.request("PUT", url, body=file.read_bytes())
    (study,) = (await overview(api))["studies"]
    assert (study["stage"], study["instances"], study["missing"]) == ("running", 3, 0)


async def test_stages_follow_the_queue_and_are_counted(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    outcomes = {"1.2.1": "error", "1.2.2": "forbidden", "1.2.3": "empty"}
    api = await start_simulator(inference_seconds=10, slots=2, outcomes=outcomes)
    for number in range(1, 8):
        await submit(api, tmp_path, f"1.2.{number}", instances=1)
        clock.now += 1
    clock.now += 14  # 21 seconds after the first one came in
    told = await overview(api)
    stages = {study["study_instance_uid"]: study["stage"] for study in told["studies"]}
    assert stages == {
        "1.2.1": "error",
        "1.2.2": "forbidden",
        "1.2.3": "empty",
        "1.2.4": "done",
        "1.2.5": "running",
        "1.2.6": "running",
        "1.2.7": "waiting",
    }
    assert told["counts"] == {
        **dict.fromkeys(("error", "forbidden", "empty", "done", "waiting"), 1),
        "running": 2,
        "receiving": 0,
    }
    assert told["slots"] == {"busy": 2, "total": 2}
    assert told["waiting"] == [{"study_instance_uid": "1.2.7", "seconds": 15.0}]


async def test_the_last_two_hundred_studies_are_told_of_the_newest_first(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator()
    for number in range(1, 204):
        await submit(api, tmp_path, f"1.2.{number}", instances=1, rows=2, columns=2)
        clock.now += 1
    await submit(api, tmp_path, "1.2.1", instances=1, rows=2, columns=2)
    told = await overview(api)
    assert told["left_out"] == 3
    assert told["counts"]["done"] + told["counts"]["running"] == 203
    uids = [study["study_instance_uid"] for study in told["studies"]]
    assert uids == ["1.2.1", *(f"1.2.{number}" for number in range(203, 4, -1))]


async def test_faults_are_told_of_with_what_is_left_of_them(api: Api, tmp_path: Path) -> None:
    await submit(api, tmp_path, "1.2.3")
    faults = b'["get_status:delay:seconds=0,count=3", "/v3/x:early_status:status=500"]'
    await api.request("PUT", "/control/faults", body=faults)
    await api.status("1.2.3")
    assert (await overview(api))["faults"] == [
        {"kind": "delay", "route": "get_status", "strikes": 1, "left": 2},
        {"kind": "early_status 500", "route": "/v3/x", "strikes": 0},
    ]


async def test_faults_are_told_of_with_how_often_they_strike(api: Api) -> None:
    await api.request("PUT", "/control/faults", body=b'["**:hang:0.005", "**:status:0.5,every=7"]')
    kinds = [fault["kind"] for fault in (await overview(api))["faults"]]
    assert kinds == ["hang, 0.5 %", "status 503, 50 %, 1 in 7"]


async def test_a_study_whose_uid_is_markup_is_not_let_in(api: Api, tmp_path: Path) -> None:
    (file,) = study_files(tmp_path, instances=1)
    dataset = pydicom.dcmread(file)
    dataset["StudyInstanceUID"].validation_mode = pydicom.config.IGNORE
    dataset.StudyInstanceUID = "<img src=x onerror=hack()>"
    assert (await api.post_study([dataset_to_bytes(dataset)])).status == 400
    assert (await overview(api))["studies"] == []


@pytest.mark.parametrize(("path", "content_type"), FILES.items())
async def test_the_files_of_the_page_ask_for_no_key_and_let_nothing_else_in(
    api: Api, path: str, content_type: str
) -> None:
    async with api.session.get(f"{api.simulator.url}{path}") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        text = (await answer.text()).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"(?:https?:)?//\w", text)
    assert "innerHTML" not in text
