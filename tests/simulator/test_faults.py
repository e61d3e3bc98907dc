"""Each fault on demand, as an aiohttp client sees it and as the bytes on the wire show it."""

from __future__ import annotations

import contextlib
import gzip
import json
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest

from tests.dicom_files import large_instance, study_files
from tests.simulator.support import ACCEPT, multipart
from tests.simulator.wire import ENOUGH, SHORT, exchange, head, stow_head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.support import Answer, Api, Clock

STOW_TYPE = "multipart/related; boundary=frontier"


@pytest.fixture
async def finished(api: Api, clock: Clock, tmp_path: Path) -> str:
    """The StudyInstanceUID of a study whose results are there; nothing goes wrong yet."""
    uid = await api.submit(study_files(tmp_path))
    clock.now += 2
    return uid


async def put_faults(api: Api, *faults: str) -> None:
    url = f"{api.simulator.url}/control/faults"
    async with api.session.put(url, json=faults) as answer:
        assert answer.status == 200, await answer.text()


def wado(uid: str) -> str:
    return f"/v3/studies/{uid}?inference_command=smarturgences"


async def post(api: Api, body: bytes) -> int:
    """Post a study as it is; the status."""
    url = f"{api.simulator.url}/v3/studies"
    headers = {**api.headers, "Content-Type": STOW_TYPE}
    async with api.session.post(url, data=BytesIO(body), headers=headers) as answer:
        await answer.read()
        return answer.status


async def get(api: Api, path: str) -> tuple[int, str, bytes]:
    """Status, Content-Type and body of an answer, whatever they are."""
    headers = {**api.headers, "Accept": ACCEPT}
    async with api.session.get(f"{api.simulator.url}{path}", headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


def deliveries(api: Api, uid: str) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    account = api.simulator.account[uid]
    return (
        {command: dict(counts) for command, counts in account.deliveries.items()},
        dict(account.json_deliveries),
    )


class TestStatus:
    @pytest.mark.parametrize("status", [400, 403, 404, 422, 429])
    async def test_any_documented_status_comes_with_its_documented_body(
        self, api: Api, finished: str, status: int
    ) -> None:
        await put_faults(api, f"get_study:status:status={status}")
        answer: Answer = await api.results(finished)
        assert answer.status == status
        assert list(answer.json()) == ["detail" if status == 422 else "message"]

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
    async def test_any_other_status_comes_with_the_body_of_an_error(
        self, api: Api, finished: str, status: int
    ) -> None:
        await put_faults(api, f"get_study:status:status={status},message=Error formatting study")
        answered = await get(api, wado(finished))
        assert answered == (status, "application/json", b'{"message":"Error formatting study"}')
        assert deliveries(api, finished) == ({}, {})

    @pytest.mark.parametrize("status", [204, 304])
    async def test_a_status_that_has_no_body_comes_without_one(
        self, api: Api, finished: str, status: int
    ) -> None:
        await put_faults(api, f"get_status:status:status={status},count=1")
        seen = await exchange(api, head("GET", f"/v3/studies/{finished}/status"))
        assert (seen.status, seen.body, seen.end) == (status, b"", "closed")

    async def test_it_may_say_when_to_come_again(self, api: Api, finished: str) -> None:
        await put_faults(api, "get_status:status:status=429,retry_after=7,count=1")
        refused = await api.get(f"/v3/studies/{finished}/status")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "7")
        assert "Retry-After" not in (await api.get(f"/v3/studies/{finished}/status")).headers

    async def test_a_refused_study_is_not_accepted_though_it_was_read(
        self, api: Api, tmp_path: Path
    ) -> None:
        await put_faults(api, "POST /v3/studies:status:status=503,count=1")
        body = multipart(study_files(tmp_path))
        seen = await exchange(api, stow_head(len(body)), body)
        assert (seen.status, seen.end) == (503, "closed")
        assert api.simulator.account == {}
        assert await post(api, body) == 200

    async def test_an_early_one_comes_before_the_body_and_cuts_the_upload(
        self, api: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        await put_faults(api, "post_study:early_status:status=429,retry_after=3")
        body = multipart([large_instance(tmp_path / "large.dcm", 16)])
        seen = await exchange(api, stow_head(len(body)), body[:1000])
        assert (seen.status, seen.end) == (429, "closed")
        assert b"Retry-After: 3" in seen.head
        assert json.loads(seen.body) == {"message": "Too Many Requests"}
        with contextlib.suppress(aiohttp.ClientOSError):  # the broken upload may come first
            assert await post(api, body) == 429
        assert api.simulator.account == {}
        assert caplog.records == []


class TestTime:
    async def test_a_delay_is_before_the_answer(self, api: Api, finished: str) -> None:
        await put_faults(api, "get_status:delay:seconds=0.1")
        started = anyio.current_time()
        assert await api.status(finished) == "done"
        assert anyio.current_time() - started >= 0.1

    async def test_a_request_that_hangs_was_read_and_is_never_answered(
        self, api: Api, tmp_path: Path
    ) -> None:
        await put_faults(api, "post_study:hang")
        body = multipart([large_instance(tmp_path / "large.dcm", 16)])
        seen = await exchange(api, stow_head(len(body)), body, patience=SHORT)
        assert (seen.received, seen.end) == (b"", "open")
        assert seen.sent > len(body)
        with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
            await post(api, body)
        assert api.simulator.account == {}

    async def test_an_upload_may_hang_in_its_middle(self, api: Api, tmp_path: Path) -> None:
        await put_faults(api, "post_study:hang_in_body:at=0.1")
        body = multipart([large_instance(tmp_path / "large.dcm", 64)])
        seen = await exchange(api, stow_head(len(body)), body, patience=SHORT)
        assert (seen.received, seen.end) == (b"", "open")
        assert len(body) * 0.1 < seen.sent < len(body)
        with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
            await post(api, body)
        assert api.simulator.account == {}

    async def test_an_upload_may_hang_after_it_was_accepted(self, api: Api, tmp_path: Path) -> None:
        await put_faults(api, "post_study:hang_after_body")
        body = multipart(study_files(tmp_path))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post, api, body)
            while not api.simulator.account:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        seen = await exchange(api, stow_head(len(body)), body, patience=ENOUGH)
        assert (seen.received, seen.end) == (b"", "open")
        (account,) = api.simulator.account.values()
        assert [submission.answered for submission in account.history] == [False, False]

    async def test_an_answer_may_hang_in_its_middle(self, api: Api, finished: str) -> None:
        await put_faults(api, "get_study:hang_in_body:at=0.5")
        seen = await exchange(api, head("GET", wado(finished)), patience=ENOUGH)
        assert (seen.status, seen.end) == (200, "open")
        assert b"application/dicom" in seen.body
        with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
            await get(api, wado(finished))
        assert deliveries(api, finished) == ({}, {})

    async def test_an_answer_may_hang_before_its_end(self, api: Api, finished: str) -> None:
        await put_faults(api, "get_study:hang_after_body")
        seen = await exchange(api, head("GET", wado(finished)), patience=ENOUGH)
        assert seen.end == "open"
        assert seen.body.endswith(b"--\r\n\r\n")  # the closing boundary, but no last chunk
        with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
            await get(api, wado(finished))

    async def test_an_answer_of_json_may_hang_before_its_end_too(
        self, api: Api, finished: str
    ) -> None:
        await put_faults(api, "GET **:hang_after_body")
        path = f"/v3/smartxpert/{finished}"
        seen = await exchange(api, head("GET", path), patience=ENOUGH)
        assert (seen.status, seen.end) == (200, "open")
        assert seen.body.endswith(b"}\r\n")  # all of it, and no length that would say so
        with pytest.raises(TimeoutError), anyio.fail_after(SHORT):
            await get(api, path)
        assert deliveries(api, finished) == ({}, {})

    async def test_what_hangs_does_not_keep_the_simulator_from_stopping(
        self, api: Api, finished: str
    ) -> None:
        await put_faults(api, "get_status:hang")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._is_cut, api, f"/v3/studies/{finished}/status")
            while not await strikes(api):
                await anyio.lowlevel.checkpoint()
            with anyio.fail_after(1):
                await api.simulator.stop()

    @staticmethod
    async def _is_cut(api: Api, path: str) -> None:
        with pytest.raises(aiohttp.ClientConnectionError):
            await get(api, path)


async def strikes(api: Api) -> int:
    async with api.session.get(f"{api.simulator.url}/control/faults") as answer:
        return sum(each["strikes"] for each in await answer.json())


class TestReset:
    async def test_an_upload_may_be_reset_before_its_body(self, api: Api, tmp_path: Path) -> None:
        await put_faults(api, "post_study:reset_before_body")
        body = multipart(study_files(tmp_path))
        seen = await exchange(api, stow_head(len(body)))
        assert (seen.received, seen.end) == (b"", "reset")
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(api, body)
        assert api.simulator.account == {}

    async def test_an_upload_may_be_reset_in_its_middle(self, api: Api, tmp_path: Path) -> None:
        await put_faults(api, "post_study:reset_in_body:at=0.5")
        body = multipart([large_instance(tmp_path / "large.dcm", 16)])
        seen = await exchange(api, stow_head(len(body)), body[: len(body) // 3], patience=SHORT)
        assert (seen.received, seen.end) == (b"", "open")
        seen = await exchange(api, stow_head(len(body)), body[: len(body) * 2 // 3])
        assert (seen.received, seen.end) == (b"", "reset")
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(api, body)
        assert api.simulator.account == {}

    async def test_an_upload_that_was_read_whole_may_be_reset_and_not_accepted(
        self, api: Api, tmp_path: Path
    ) -> None:
        await put_faults(api, "post_study:reset_in_body:at=1")
        body = multipart(study_files(tmp_path))
        seen = await exchange(api, stow_head(len(body)), body[:-1], patience=SHORT)
        assert seen.end == "open"
        seen = await exchange(api, stow_head(len(body)), body)
        assert (seen.received, seen.end) == (b"", "reset")
        assert api.simulator.account == {}

    async def test_an_upload_may_be_reset_after_it_was_accepted(
        self, api: Api, clock: Clock, tmp_path: Path
    ) -> None:
        await put_faults(api, "POST /v3/studies:reset_after_body:count=2")
        body = multipart(study_files(tmp_path))
        seen = await exchange(api, stow_head(len(body)), body)
        assert (seen.received, seen.end) == (b"", "reset")
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(api, body)
        assert await post(api, body) == 200
        ((uid, account),) = api.simulator.account.items()
        assert [submission.answered for submission in account.history] == [False, False, True]
        clock.now += 2
        assert await api.status(uid) == "done"

    async def test_the_answer_to_an_upload_may_be_reset_in_its_middle(
        self, api: Api, tmp_path: Path
    ) -> None:
        await put_faults(api, "post_study:reset_in_body:of=answer")
        body = multipart(study_files(tmp_path))
        seen = await exchange(api, stow_head(len(body)), body)
        assert (seen.status, seen.end) == (200, "reset")
        assert seen.body.startswith(b'{"StudyInstanceUID"')
        assert not seen.body.endswith(b"}")
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(api, body)
        (account,) = api.simulator.account.values()
        assert [submission.answered for submission in account.history] == [False, False]

    async def test_an_answer_may_be_reset_before_anything_of_it(
        self, api: Api, finished: str
    ) -> None:
        await put_faults(api, "get_study:reset_before_body")
        seen = await exchange(api, head("GET", wado(finished)))
        assert (seen.received, seen.end) == (b"", "reset")
        with pytest.raises(aiohttp.ClientConnectionError):
            await get(api, wado(finished))

    @pytest.mark.parametrize("share", [0, 0.3, 1])
    async def test_an_answer_may_be_reset_anywhere_in_its_body(
        self, api: Api, finished: str, share: float
    ) -> None:
        whole = len((await api.results(finished)).body)
        await put_faults(api, f"get_study:reset_in_body:at={share}")
        seen = await exchange(api, head("GET", wado(finished)))
        assert (seen.status, seen.end) == (200, "reset")
        assert whole * share <= len(seen.body) <= whole * share + 500  # as chunks have headers
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(api, wado(finished))
        assert deliveries(api, finished) == ({"smarturgences": {"dicomweb": 1}}, {})

    async def test_an_answer_may_be_reset_after_its_body_before_its_end(
        self, api: Api, finished: str
    ) -> None:
        await put_faults(api, "get_study:reset_after_body")
        seen = await exchange(api, head("GET", wado(finished)))
        assert seen.end == "reset"
        assert seen.body.endswith(b"--\r\n\r\n")
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(api, wado(finished))
        assert deliveries(api, finished) == ({}, {})

    @pytest.mark.parametrize("fault", ["reset_after_body", "reset_in_body:at=1"])
    async def test_an_answer_of_json_may_be_reset_before_its_end_too(
        self, api: Api, finished: str, fault: str
    ) -> None:
        await put_faults(api, f"get_smartxpert:{fault}")
        path = f"/v3/smartxpert/{finished}"
        seen = await exchange(api, head("GET", path))
        assert seen.end == "reset"
        assert seen.body.endswith(b"}\r\n")
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(api, path)
        assert deliveries(api, finished) == ({}, {})

    async def test_a_flag_may_be_lost_on_its_way_back(self, api: Api, finished: str) -> None:
        path = f"/v3/interesting/{finished}"
        for fault, flagged in [("reset_before_body", 0), ("reset_after_body", 1)]:
            await put_faults(api, f"post_interesting:{fault}")
            assert (await exchange(api, head("POST", path))).end == "reset"
            assert api.simulator.account[finished].flagged == flagged

    async def test_an_object_may_be_lost_on_its_way_in_or_its_answer_on_its_way_out(
        self, api: Api, tmp_path: Path
    ) -> None:
        (file,) = study_files(tmp_path, instances=1)
        content = file.read_bytes()
        announced = (await api.post_study([file], signed_url="true")).json()
        (url,) = announced["signed_urls"].values()
        path = url.removeprefix(api.simulator.url)
        request = head("PUT", path, {"Content-Length": str(len(content))}) + content
        for fault, received in [("reset_in_body", 0), ("reset_after_body", 1)]:
            await put_faults(api, f"PUT /blobs/*:{fault}")
            assert (await exchange(api, request)).end == "reset"
            account = api.simulator.account[announced["StudyInstanceUID"]]
            assert len(account.instances) == received


class TestContent:
    async def test_a_multipart_may_end_cleanly_without_its_closing_boundary(
        self, api: Api, finished: str
    ) -> None:
        whole = (await api.results(finished)).body
        await put_faults(api, "get_study:truncate:at=0.75")
        status, kind, body = await get(api, wado(finished))
        boundary = kind.rpartition("boundary=")[2].encode()
        assert status == 200
        assert len(body) == int(len(whole) * 0.75)
        assert body.startswith(b"--" + boundary)
        assert b"--" + boundary + b"--" not in body
        seen = await exchange(api, head("GET", wado(finished)))
        assert seen.end == "closed"
        assert seen.body.endswith(b"\r\n0\r\n\r\n")  # the last chunk of RFC 9112 section 7.1
        assert deliveries(api, finished) == ({"smarturgences": {"dicomweb": 1}}, {})

    async def test_json_may_end_cleanly_too_soon(self, api: Api, finished: str) -> None:
        await put_faults(api, "get_smarturgences:truncate")
        status, kind, body = await get(api, f"/v3/smarturgences/{finished}")
        assert (status, kind) == (200, "application/json")
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
        assert deliveries(api, finished) == ({}, {})

    async def test_an_object_may_end_cleanly_too_soon(self, api: Api, finished: str) -> None:
        listed = (await api.results(finished, signed_url="true")).json()["signed_urls"]
        whole = [(await api.get(url)).body for url in listed]
        await put_faults(api, "get_object:truncate")
        for url, content in zip(listed, whole, strict=True):
            answer = await api.get(url)
            assert answer.headers["Content-Length"] == str(len(content) // 2)
            assert answer.body == content[: len(content) // 2]
        assert deliveries(api, finished) == ({"smarturgences": {"signed_url": 1}}, {})

    async def test_a_content_type_may_be_wrong(self, api: Api, finished: str) -> None:
        right = await get(api, f"/v3/smartxpert/{finished}")
        await put_faults(api, "get_smartxpert:wrong_content_type")
        wrong = await get(api, f"/v3/smartxpert/{finished}")
        assert wrong == (200, "text/html", right[2])
        await put_faults(api, "get_study:wrong_content_type:content_type=application/zip")
        status, kind, body = await get(api, wado(finished))
        assert (status, kind, body[:2]) == (200, "application/zip", b"--")
        assert deliveries(api, finished) == ({}, {"smartxpert": 1})

    async def test_json_may_come_inside_a_multipart(self, api: Api, finished: str) -> None:
        right = (await api.get(f"/v3/studies/{finished}/status")).body
        await put_faults(api, "GET **:json_part")
        answer = await replace(api, checked=False).get(f"/v3/studies/{finished}/status")
        assert answer.parts() == [("application/json", right)]

    async def test_json_may_come_among_the_parts_of_a_multipart(
        self, api: Api, finished: str
    ) -> None:
        right = (await api.results(finished)).parts()
        await put_faults(api, "get_study:json_part")
        first, *others = (await api.results(finished)).parts()
        assert first == ("application/json", b'{"message":"Simulated fault"}')
        assert others == right

    async def test_parts_may_be_gzipped(self, api: Api, finished: str) -> None:
        right = [content for _, content in (await api.results(finished)).parts()]
        await put_faults(api, "get_study:gzip_parts")
        parts = (await api.results(finished)).parts()
        assert {kind for kind, _ in parts} == {"application/dicom+gzip"}
        assert [gzip.decompress(content) for _, content in parts] == right
        assert deliveries(api, finished)[0] == {"smarturgences": {"dicomweb": 2}}

    async def test_what_has_no_dicom_parts_has_none_gzipped(self, api: Api, finished: str) -> None:
        await put_faults(api, "**:gzip_parts")
        assert await api.status(finished) == "done"

    async def test_a_body_may_be_garbage(self, api: Api, finished: str) -> None:
        right = await get(api, wado(finished))
        await put_faults(api, "GET **:garbage")
        status, kind, body = await get(api, wado(finished))
        assert status == 200
        assert kind.partition(";")[0] == right[1].partition(";")[0]
        assert b"--" + kind.rpartition("boundary=")[2].encode() not in body
        assert (await get(api, wado(finished)))[2] == body  # the same each time
        with pytest.raises(UnicodeDecodeError):
            (await get(api, f"/v3/studies/{finished}/status"))[2].decode()

    async def test_an_answer_may_not_be_http_at_all(self, api: Api, finished: str) -> None:
        await put_faults(api, "get_study:garbage_http")
        seen = await exchange(api, head("GET", wado(finished)))
        assert seen.end == "closed"
        assert len(seen.received) == 4096
        assert b"HTTP/1" not in seen.received
        with pytest.raises(aiohttp.ClientError):
            await get(api, wado(finished))
