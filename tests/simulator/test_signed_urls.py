"""Transfers by signed URL, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydicom
import pytest

from milvue_async.dicom import dataset_to_bytes
from tests.dicom_files import study_files
from tests.simulator.support import OTHER_KEY, Api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Answer, Clock


def without_pixels(file: Path) -> bytes:
    dataset = pydicom.dcmread(file)
    dataset.PixelData = b""
    return dataset_to_bytes(dataset)


def sop_instance_uid(file: Path) -> str:
    return str(pydicom.dcmread(file).SOPInstanceUID)


async def announce(api: Api, files: list[Path]) -> tuple[str, dict[str, str]]:
    answer = await api.post_study([without_pixels(file) for file in files], signed_url="true")
    assert answer.status == 200, answer.body
    return answer.json()["StudyInstanceUID"], answer.json()["signed_urls"]


async def put(api: Api, url: str, body: bytes) -> Answer:
    headers = {"Content-Type": "application/dicom", "x-ms-blob-type": "BlockBlob"}
    return await api.request("PUT", url, body=body, headers=headers)


async def test_a_study_runs_once_all_announced_instances_are_put(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, instances=3)
    uid, urls = await announce(api, files)
    assert set(urls) == {sop_instance_uid(file) for file in files}
    for file in files:
        assert (await api.get(f"/v3/studies/{uid}/status")).status == 404
        answer = await put(api, urls[sop_instance_uid(file)], file.read_bytes())
        assert (answer.status, answer.body) == (200, b"")
        clock.now += 10
    clock.now -= 9
    assert await api.status(uid) == "running"
    clock.now += 1
    assert await api.status(uid) == "done"


async def test_the_account_tells_which_announced_instances_are_missing(
    api: Api, tmp_path: Path
) -> None:
    first, second = study_files(tmp_path)
    uid, urls = await announce(api, [first, second])
    await put(api, urls[sop_instance_uid(first)], first.read_bytes())
    account = api.simulator.account[uid]
    assert account.missing == {sop_instance_uid(second)}
    assert set(account.instances) == {sop_instance_uid(first)}
    assert (account.submissions, account.status, account.complete_at) == (1, None, None)


async def test_an_instance_put_again_is_counted_and_starts_nothing_again(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    (file,) = study_files(tmp_path, instances=1)
    uid, urls = await announce(api, [file])
    (url,) = urls.values()
    await put(api, url, file.read_bytes())
    clock.now += 2
    assert (await put(api, url, file.read_bytes())).status == 200
    assert await api.status(uid) == "done"
    (instance,) = api.simulator.account[uid].instances.values()
    assert instance.received == 2


async def test_results_come_by_signed_url_as_they_come_by_wado(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    uid = await api.submit(study_files(tmp_path))
    clock.now += 2
    listed = (await api.results(uid, signed_url="true")).json()
    assert listed["status"] == "done"
    bodies = []
    for url in listed["signed_urls"]:
        answer = await api.get(url)
        assert (answer.status, answer.content_type) == (200, "application/dicom")
        assert answer.headers["Content-Length"] == str(len(answer.body))
        bodies.append(answer.body)
    assert bodies == [content for _, content in (await api.results(uid)).parts()]
    assert api.simulator.account[uid].deliveries == {
        "smarturgences": {"dicomweb": 1, "signed_url": 1}
    }


async def test_a_signed_url_expires(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(signed_url_seconds=60)
    (file,) = study_files(tmp_path, instances=1)
    _, urls = await announce(api, [file])
    (url,) = urls.values()
    clock.now += 60
    answer = await put(api, url, file.read_bytes())
    assert answer.status == 403
    assert list(answer.json()) == ["message"]
    _, urls = await announce(api, [file])
    (url,) = urls.values()
    assert (await put(api, url, file.read_bytes())).status == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("signature=", "signature=0"),
        ("expires=1", "expires=2"),
        ("expires=1", "expires=nan"),
        ("?expires", "?nothing"),
        ("%2F", "%2f"),
        ("uploads", "results"),
    ],
)
async def test_a_changed_url_is_forbidden(api: Api, tmp_path: Path, old: str, new: str) -> None:
    (file,) = study_files(tmp_path, instances=1)
    _, urls = await announce(api, [file])
    (url,) = urls.values()
    assert old in url
    assert (await put(api, url.replace(old, new, 1), file.read_bytes())).status == 403


async def test_a_signed_url_is_for_one_method(api: Api, tmp_path: Path) -> None:
    (file,) = study_files(tmp_path, instances=1)
    _, urls = await announce(api, [file])
    assert (await api.get(*urls.values())).status == 403


async def test_a_signed_url_is_for_the_key_that_asked_for_it(api: Api, tmp_path: Path) -> None:
    (file,) = study_files(tmp_path, instances=1)
    _, urls = await announce(api, [file])
    (url,) = urls.values()
    for headers in ({"x-goog-meta-owner": OTHER_KEY}, {}):
        stranger = Api(api.session, api.simulator, headers)
        assert (await put(stranger, url, file.read_bytes())).status == 403


async def test_an_object_put_must_be_the_one_announced(api: Api, tmp_path: Path) -> None:
    first, second = study_files(tmp_path, seed=1)
    other_study = study_files(tmp_path, instances=1, seed=2)[0]
    uid, urls = await announce(api, [first, second])
    url = urls[sop_instance_uid(first)]
    for body, reason in [
        (second.read_bytes(), "another instance"),
        (other_study.read_bytes(), "another study"),
        (first.read_bytes()[:-10], "not a whole DICOM file"),
        (b"", "not a whole DICOM file"),
    ]:
        answer = await put(api, url, body)
        assert answer.status == 400
        assert reason in answer.json()["message"]
    assert api.simulator.account[uid].instances == {}


async def test_a_study_sent_whole_no_longer_waits_for_what_was_announced(
    api: Api, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path)
    uid, _ = await announce(api, files)
    assert await api.submit(files[:1]) == uid
    clock.now += 2
    assert await api.status(uid) == "done"
    assert api.simulator.account[uid].missing == frozenset()
