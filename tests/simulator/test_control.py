"""The control routes: the account, the queue, faults and the clock, without an API key."""

from __future__ import annotations

import hashlib
import json
from time import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pydicom
import pytest
from aiohttp import web

from milvue_async.simulator import Fault, Simulator, SimulatorConfig, create_app
from milvue_async.simulator.control import is_loopback
from tests.dicom_files import study_files
from tests.simulator.support import Api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Answer, Clock

ROUTES = [
    ("GET", "/control/account"),
    ("GET", "/control/account/1.2.3"),
    ("GET", "/control/queue"),
    ("GET", "/control/overview"),
    ("GET", "/control/faults"),
    ("PUT", "/control/faults"),
    ("DELETE", "/control/faults"),
    ("GET", "/control/clock"),
    ("PUT", "/control/clock"),
    ("POST", "/control/reset"),
]


@pytest.fixture
def keyless(api: Api) -> Api:
    return Api(api.session, api.simulator, headers={})


async def put(api: Api, path: str, value: Any) -> Answer:
    return await api.request("PUT", path, body=json.dumps(value).encode())


def message(answer: Answer) -> str:
    assert list(answer.json()) == ["message"]
    return str(answer.json()["message"])


class TestAccount:
    async def test_it_tells_of_each_study_what_came_in_and_what_went_out(
        self, api: Api, keyless: Api, clock: Clock, tmp_path: Path
    ) -> None:
        files = study_files(tmp_path)
        answer = await api.post_study(files, siteId="s")
        uid = answer.json()["StudyInstanceUID"]
        await api.status(uid)
        clock.now += 5
        await api.status(uid)
        await api.results(uid)
        await api.get(f"/v3/smartxpert/{uid}")
        account = (await keyless.get(f"/control/account/{uid}")).json()
        assert account == {
            "study_instance_uid": uid,
            "status": "done",
            "instances": {
                str(pydicom.dcmread(file).SOPInstanceUID): {
                    "size": file.stat().st_size,
                    "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                    "received": 1,
                }
                for file in files
            },
            "missing": [],
            "submissions": 1,
            "history": [
                {
                    "accepted_at": 1000.0,
                    "transfer": "dicomweb",
                    "answered": True,
                    "complete_at": 1000.0,
                    "started_at": 1000.0,
                    "finished_at": 1002.0,
                }
            ],
            "post_query": {"siteId": "s"},
            "status_polls": 2,
            "deliveries": {"smarturgences": {"dicomweb": 1}},
            "json_deliveries": {"smartxpert": 1},
            "result_queries": {"smarturgences": {"inference_command": "smarturgences"}},
            "flagged": 0,
            "complete_at": 1000.0,
            "finished_at": 1002.0,
            "seen_finished_at": 1005.0,
        }
        everything = (await keyless.get("/control/account")).json()
        assert everything == {"now": 1005.0, "studies": {uid: account}}

    async def test_an_unknown_study_is_not_found(self, keyless: Api) -> None:
        answer = await keyless.get("/control/account/1.2.3")
        assert (answer.status, message(answer)) == (404, "Study not found")

    async def test_an_announced_study_is_there_with_what_is_missing(
        self, api: Api, keyless: Api, tmp_path: Path
    ) -> None:
        (file,) = study_files(tmp_path, instances=1)
        await api.post_study([file], signed_url="true")
        (account,) = (await keyless.get("/control/account")).json()["studies"].values()
        assert account["missing"] == [str(pydicom.dcmread(file).SOPInstanceUID)]
        assert account["status"] is None

    async def test_a_list_of_results_is_delivered_once_each_of_them_is(
        self, api: Api, clock: Clock, tmp_path: Path
    ) -> None:
        uid = await api.submit(study_files(tmp_path, instances=3))
        clock.now += 2
        urls = (await api.results(uid, signed_url="true")).json()["signed_urls"]
        seen = []
        for url in [*urls, urls[0]]:
            await api.get(url)
            seen.append(api.simulator.account[uid].deliveries)
        once = {"smarturgences": {"signed_url": 1}}
        assert seen == [{}, {}, {}, once, once]  # three images and the recap

    async def test_a_list_of_nothing_is_delivered_as_it_is(
        self, start_simulator: StartSimulator, clock: Clock, tmp_path: Path
    ) -> None:
        api = await start_simulator(shares={"empty": 1})
        uid = await api.submit(study_files(tmp_path))
        clock.now += 2
        await api.results(uid, signed_url="true")
        assert api.simulator.account[uid].deliveries == {"smarturgences": {"signed_url": 1}}

    async def test_who_is_not_answered_has_not_seen_that_a_study_ended(
        self, api: Api, clock: Clock, tmp_path: Path
    ) -> None:
        uid = await api.submit(study_files(tmp_path))
        clock.now += 2
        await put(api, "/control/faults", ["get_status:reset_after_body:of=request"])
        with pytest.raises(aiohttp.ClientError):
            await api.status(uid)
        await api.request("DELETE", "/control/faults")
        assert api.simulator.account[uid].seen_finished_at is None
        clock.now += 3
        await api.status(uid)
        assert api.simulator.account[uid].seen_finished_at == 1005


class TestQueue:
    async def test_it_tells_what_runs_and_what_waits(
        self, start_simulator: StartSimulator, tmp_path: Path
    ) -> None:
        api = await start_simulator(slots=1)
        uids = [await api.submit(study_files(tmp_path, seed=seed)) for seed in (1, 2)]
        queue = (await Api(api.session, api.simulator, {}).get("/control/queue")).json()
        times = {"slot": 0, "entered_at": 1000.0}
        assert queue == {
            "now": 1000.0,
            "slots": 1,
            "queue": [
                {
                    "study_instance_uid": uids[0],
                    "state": "running",
                    **times,
                    "started_at": 1000.0,
                    "finished_at": 1002.0,
                },
                {
                    "study_instance_uid": uids[1],
                    "state": "waiting",
                    **times,
                    "started_at": 1002.0,
                    "finished_at": 1004.0,
                },
            ],
        }


class TestFaults:
    async def test_faults_are_put_as_text_or_objects_told_counted_and_deleted(
        self, api: Api, keyless: Api
    ) -> None:
        faults = ["get_status:status:every=2,status=429", {"kind": "hang", "route": "PUT **"}]
        told = (await put(keyless, "/control/faults", faults)).json()
        assert [each["fault"]["kind"] for each in told] == ["status", "hang"]
        asked = [(await api.get("/v3/studies/1.2/status")).status for _ in range(5)]
        assert asked == [404, 429, 404, 429, 404]
        told = (await keyless.get("/control/faults")).json()
        assert [(each["requests"], each["strikes"]) for each in told] == [(5, 2), (0, 0)]
        assert (await keyless.request("DELETE", "/control/faults")).json() == []
        assert (await keyless.get("/control/faults")).json() == []
        assert (await api.get("/v3/studies/1.2/status")).status == 404

    async def test_the_told_fault_can_be_put_again(self, keyless: Api) -> None:
        told = (await put(keyless, "/control/faults", ["get_study:truncate:0.5,at=0.9"])).json()
        again = (await put(keyless, "/control/faults", [each["fault"] for each in told])).json()
        assert again == told

    async def test_putting_faults_starts_them_anew(self, api: Api, keyless: Api) -> None:
        for _ in range(2):
            await put(keyless, "/control/faults", ["get_status:status:count=1,status=400"])
            asked = [(await api.get("/v3/studies/1.2/status")).status for _ in range(2)]
            assert asked == [400, 404]

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"", "The body is not JSON"),
            (b"\xff", "The body is not JSON"),
            (b'"**:hang"', "The body is not a JSON array of faults"),
            (b'["**:hand"]', "fault: kind: Input should be 'status', "),
            (b"[3]", "fault: Input should be a dictionary"),
            (b'[{"kind": "hang", "at": 0.3}]', "fault: hang has no at"),
        ],
    )
    async def test_what_are_no_faults_changes_none(
        self, keyless: Api, body: bytes, problem: str
    ) -> None:
        await put(keyless, "/control/faults", ["**:hang"])
        answer = await keyless.request("PUT", "/control/faults", body=body)
        assert answer.status == 400
        assert problem in message(answer)
        assert len((await keyless.get("/control/faults")).json()) == 1


class TestClock:
    async def test_it_is_put_forward_for_whom_cannot_wait(
        self, api: Api, keyless: Api, tmp_path: Path
    ) -> None:
        uid = await api.submit(study_files(tmp_path))
        assert await api.status(uid) == "running"
        answer = await put(keyless, "/control/clock", {"ahead": 2.5})
        assert answer.json() == {"now": 1002.5, "ahead": 2.5}
        assert await api.status(uid) == "done"
        assert (await keyless.get("/control/clock")).json() == {"now": 1002.5, "ahead": 2.5}

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ({"ahead": 9}, "only goes forward"),
            ({"ahead": "10"}, "is not {"),
            ({"forward": 10}, "is not {"),
            ([10], "is not {"),
            ({"ahead": float("inf")}, "only goes forward"),
        ],
    )
    async def test_it_goes_nowhere_else(self, keyless: Api, value: Any, problem: str) -> None:
        await put(keyless, "/control/clock", {"ahead": 10})
        answer = await put(keyless, "/control/clock", value)
        assert answer.status == 400
        assert problem in message(answer)
        assert (await keyless.get("/control/clock")).json()["ahead"] == 10

    async def test_by_default_it_shows_unix_time(self) -> None:
        async with Simulator() as simulator, aiohttp.ClientSession() as session:
            before = time()
            now = (await Api(session, simulator).get("/control/clock")).json()["now"]
            assert before - 1 <= now <= time() + 1


class TestReset:
    async def test_it_forgets_studies_queue_and_quotas_and_returns_to_the_faults_of_the_start(
        self, start_simulator: StartSimulator, tmp_path: Path
    ) -> None:
        start = Fault(kind="status", route="get_smartxpert")
        api = await start_simulator(
            quota_studies=1, slots=1, requests_per_second=2, faults=(start,)
        )
        files = study_files(tmp_path)
        for _ in range(3):
            uid = await api.submit(files)
            await put(api, "/control/faults", ["post_interesting:status"])
            assert (await api.post_study(files)).status == 429
            assert (await api.get(f"/v3/studies/{uid}/status")).status == 429
            assert (await api.request("POST", "/control/reset")).status == 204
            assert api.simulator.account == {}
            assert api.simulator.queue == []
            (told,) = (await api.get("/control/faults")).json()
            assert told["fault"]["route"] == "get_smartxpert"

    async def test_signed_urls_from_before_are_void(
        self, api: Api, clock: Clock, tmp_path: Path
    ) -> None:
        (file,) = study_files(tmp_path, instances=1)
        (upload,) = (await api.post_study([file], signed_url="true")).json()["signed_urls"].values()
        uid = await api.submit([file])
        clock.now += 2
        results = (await api.results(uid, signed_url="true")).json()["signed_urls"]
        assert len(results) == 2  # the image's and the recap
        await api.request("POST", "/control/reset")
        assert (await api.request("PUT", upload, body=file.read_bytes())).status == 403
        assert [(await api.get(result)).status for result in results] == [403, 403]


class TestAccess:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_no_route_asks_for_a_key(self, keyless: Api, method: str, path: str) -> None:
        answer = await keyless.request(method, path, body=b"[]" if method == "PUT" else None)
        assert answer.status in (200, 204, 400, 404)

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_no_route_answers_to_a_peer_that_is_not_loopback(
        self, method: str, path: str, tmp_path: Path
    ) -> None:
        runner = web.AppRunner(create_app(SimulatorConfig()))
        await runner.setup()
        socket = str(tmp_path / "s")
        try:
            await web.UnixSite(runner, socket).start()  # whose peers have no IP address
            connector = aiohttp.UnixConnector(socket)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.request(method, f"http://x{path}", data=b"[]") as answer,
            ):
                assert answer.status == 403
                assert "own machine only" in (await answer.json())["message"]
        finally:
            await runner.cleanup()

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_no_route_answers_to_a_page_of_another_origin(
        self, keyless: Api, method: str, path: str
    ) -> None:
        headers = {"Origin": "https://example.org"}
        answer = await keyless.request(method, path, body=b"[]", headers=headers)
        assert answer.status == 403
        assert "another origin" in message(answer)

    @pytest.mark.parametrize(
        "host", ["example.org", "example.org:8080", "192.0.2.1", "", "[x", "."]
    )
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_no_route_answers_by_a_name_that_somebody_else_has_made_lead_here(
        self, keyless: Api, method: str, path: str, host: str
    ) -> None:
        headers = {"Host": host, "Origin": f"http://{host}"}
        answer = await keyless.request(method, path, body=b"[]", headers=headers)
        assert answer.status == 403
        assert "Host" in message(answer)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8080", "LOCALHOST:80"])
    async def test_any_name_of_this_machine_will_do(self, keyless: Api, host: str) -> None:
        answer = await keyless.request("GET", "/control/queue", headers={"Host": host})
        assert answer.status == 200

    async def test_its_own_pages_may_ask(self, keyless: Api) -> None:
        headers = {"Origin": keyless.simulator.url}
        answer = await keyless.request("POST", "/control/reset", headers=headers)
        assert answer.status == 204

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("127.0.0.1", True),
            ("127.9.9.9", True),
            ("::1", True),
            ("::ffff:127.0.0.1", True),
            ("192.0.2.1", False),
            ("0.0.0.0", False),  # noqa: S104  nothing is bound here
            ("::", False),
            ("::ffff:192.0.2.1", False),
            ("fe80::1%eth0", False),
            ("", False),
            ("localhost", False),
        ],
    )
    def test_loopback_is_this_machine_alone(self, address: str, *, expected: bool) -> None:
        assert is_loopback(address) is expected
