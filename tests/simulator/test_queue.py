"""The queue in front of inference: slots, service times, how it ends, and quotas."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from milvue_async.simulator import SimulatorConfig, Uniform
from tests.dicom_files import study_files
from tests.simulator.support import OTHER_KEY, Api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Clock

DAY = 24 * 3600


async def submit(api: Api, folder: Path, *seeds: int) -> list[str]:
    """Submit studies of one small instance, one after the other."""
    return [
        await api.submit(study_files(folder, instances=1, rows=8, columns=8, seed=seed))
        for seed in seeds
    ]


async def statuses(api: Api, uids: list[str]) -> list[str]:
    return [await api.status(uid) for uid in uids]


async def test_studies_wait_for_a_slot_first_come_first_served(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(slots=2, inference_seconds=10)
    uids = await submit(api, tmp_path, 1, 2, 3, 4, 5)
    assert await statuses(api, uids) == ["running"] * 5
    ended = []
    for _ in range(4):
        clock.now += 10
        ended.append((await statuses(api, uids)).count("done"))
    assert ended == [2, 4, 5, 5]
    starts = [api.simulator.account[uid].history[0].started_at for uid in uids]
    assert starts == [1000, 1000, 1010, 1010, 1020]


async def test_a_free_slot_is_taken_at_once(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(slots=1, inference_seconds=10)
    await submit(api, tmp_path, 1)
    clock.now += 100
    (uid,) = await submit(api, tmp_path, 2)
    clock.now += 10
    assert await api.status(uid) == "done"


async def test_without_slots_to_wait_for_nobody_waits(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(inference_seconds=10)
    uids = await submit(api, tmp_path, 1, 2, 3, 4, 5)
    clock.now += 10
    assert await statuses(api, uids) == ["done"] * 5


async def test_the_queue_tells_who_runs_where_and_who_waits(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(slots=2, inference_seconds=10)
    uids = []
    for seed in (1, 2, 3):
        uids += await submit(api, tmp_path, seed)
        clock.now += 1
    queue = api.simulator.queue
    assert [entry.study_instance_uid for entry in queue] == uids
    assert [entry.state for entry in queue] == ["running", "running", "waiting"]
    assert [entry.slot for entry in queue] == [0, 1, 0]
    assert [(entry.entered_at, entry.started_at, entry.finished_at) for entry in queue] == [
        (1000, 1000, 1010),
        (1001, 1001, 1011),
        (1002, 1010, 1020),
    ]
    clock.now = 1010
    assert [entry.state for entry in api.simulator.queue] == ["running", "running"]
    clock.now = 1020
    assert api.simulator.queue == []


async def test_a_study_sent_again_takes_a_place_of_its_own(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(slots=1, inference_seconds=10)
    (uid, _) = await submit(api, tmp_path, 1, 1)
    assert [entry.study_instance_uid for entry in api.simulator.queue] == [uid, uid]
    clock.now += 10
    assert await api.status(uid) == "running"
    clock.now += 10
    assert await api.status(uid) == "done"


async def test_a_study_enters_the_queue_when_its_last_instance_has_come(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(slots=1, inference_seconds=10)
    (file,) = study_files(tmp_path, instances=1, seed=1)
    answer = await api.post_study([file], signed_url="true")
    (other,) = await submit(api, tmp_path, 2)
    clock.now += 5
    (url,) = answer.json()["signed_urls"].values()
    await api.request("PUT", url, body=file.read_bytes())
    uid = answer.json()["StudyInstanceUID"]
    assert [entry.study_instance_uid for entry in api.simulator.queue] == [other, uid]
    (submission,) = api.simulator.account[uid].history
    assert (submission.transfer, submission.accepted_at) == ("signed_url", 1000)
    assert (submission.complete_at, submission.started_at) == (1005, 1010)


async def service_times(api: Api, folder: Path) -> list[float]:
    uids = await submit(api, folder, *range(12))
    accounts = [api.simulator.account[uid] for uid in uids]
    return [(each.finished_at or 0) - (each.complete_at or 0) for each in accounts]


async def test_service_times_are_drawn_from_their_distribution_by_the_seed(
    start_simulator: StartSimulator, tmp_path: Path
) -> None:
    scripts: list[dict[str, Any]] = [{"seed": 1}, {"seed": 1}, {"seed": 2}]
    drawn = [
        await service_times(
            await start_simulator(inference_seconds=Uniform(2, 4), **script), tmp_path
        )
        for script in scripts
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(2 <= seconds < 4 for seconds in drawn[0])
    assert len(set(drawn[0])) == 12


async def test_shares_of_the_studies_end_as_scripted_and_the_seed_says_which(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    ends = []
    for seed in (1, 1, 2):
        api = await start_simulator(
            shares={"error": 0.3, "empty": 0.3, "forbidden": 0.3}, seed=seed
        )
        uids = await submit(api, tmp_path, *range(40))
        clock.now += 2
        listed = [(await api.results(uid, signed_url="true")) for uid in uids]
        ends.append([each.json().get("status", "error") for each in listed])
    assert ends[0] == ends[1] != ends[2]
    counts = Counter(ends[0])
    assert set(counts) == {"error", "empty", "forbidden", "done"}
    assert all(6 <= counts[end] <= 18 for end in ("error", "empty", "forbidden"))


async def test_an_outcome_of_its_own_goes_before_any_share(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    files = study_files(tmp_path, study_instance_uid="1.2.3")
    api = await start_simulator(outcomes={"1.2.3": "done"}, shares={"error": 1})
    uid = await api.submit(files)
    (other,) = await submit(api, tmp_path, 1)
    clock.now += 2
    assert await statuses(api, [uid, other]) == ["done", "error"]


async def test_the_quota_is_for_any_24_hours(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path
) -> None:
    api = await start_simulator(quota_studies=2)
    await submit(api, tmp_path, 1)
    clock.now += DAY / 2
    await submit(api, tmp_path, 2)
    small = study_files(tmp_path, seed=3)
    assert (await api.post_study(small)).status == 429
    clock.now += DAY / 2
    assert (await api.post_study(small)).status == 200
    assert (await api.post_study(small)).status == 429


async def test_requests_beyond_the_rate_are_refused_until_time_has_passed(
    start_simulator: StartSimulator, clock: Clock
) -> None:
    api = await start_simulator(requests_per_second=4)
    asked = [(await api.get("/v3/studies/1.2/status")).status for _ in range(6)]
    assert asked == [404, 404, 404, 404, 429, 429]
    clock.now += 0.5
    asked = [(await api.get("/v3/studies/1.2/status")).status for _ in range(3)]
    assert asked == [404, 404, 429]
    clock.now += 60
    asked = [(await api.get("/v3/studies/1.2/status")).status for _ in range(5)]
    assert asked == [404, 404, 404, 404, 429]


async def test_less_than_a_request_a_second_is_a_request_now_and_then(
    start_simulator: StartSimulator, clock: Clock
) -> None:
    api = await start_simulator(requests_per_second=0.1)
    asked = []
    for _ in range(4):
        asked.append((await api.get("/v3/studies/1.2/status")).status)
        clock.now += 5
    assert asked == [404, 429, 404, 429]


@pytest.mark.parametrize(("retry_after", "header"), [(None, None), (1.5, "2")])
async def test_a_request_too_many_is_told_when_to_come_again_if_so_scripted(
    start_simulator: StartSimulator, retry_after: float | None, header: str | None
) -> None:
    api = await start_simulator(requests_per_second=1, retry_after=retry_after)
    await api.get("/v3/studies/1.2/status")
    answer = await api.get("/v3/studies/1.2/status")
    assert (answer.status, answer.json()) == (429, {"message": "Exceeded quota"})
    assert answer.headers.get("Retry-After") == header


async def test_who_has_no_key_does_not_use_up_the_rate(start_simulator: StartSimulator) -> None:
    api = await start_simulator(requests_per_second=1)
    stranger = Api(api.session, api.simulator, {"x-goog-meta-owner": "nobody"})
    for _ in range(3):
        assert (await stranger.get("/v3/studies/1.2/status")).status == 403
    other = Api(api.session, api.simulator, {"x-goog-meta-owner": OTHER_KEY})
    assert (await api.get("/v3/studies/1.2/status")).status == 404
    assert (await other.get("/v3/studies/1.2/status")).status == 429


async def test_the_storage_has_no_rate(start_simulator: StartSimulator) -> None:
    api = await start_simulator(requests_per_second=1)
    assert [(await api.get("/blobs/x")).status for _ in range(3)] == [403, 403, 403]


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ({"slots": 0}, "slots is 0: it must be above 0"),
        ({"requests_per_second": 0}, "requests_per_second is 0: it must be above 0"),
        ({"processes": -1}, "processes is -1: it must be 0 or more"),
        ({"shares": {"broken": 0.1}}, "'broken' is not one of done, error, forbidden, empty"),
        ({"shares": {"error": 0.6, "empty": 0.6}}, "come to more than 1 together"),
        ({"shares": {"error": -0.1}}, "not from 0 to 1"),
    ],
)
def test_a_script_that_cannot_be_is_refused(script: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SimulatorConfig(**script)
