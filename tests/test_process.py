"""Many studies side by side: as each ends, none stopped by another, and nothing left behind."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from aiohttp import web

from milvue_async import (
    AuthenticationError,
    InvalidStudyError,
    MilvueClient,
    PredictionFailedError,
    QuotaExceededError,
    StageChanged,
    load_study,
)
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files
from tests.fake_clock import FakeClock
from tests.recorder import recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from milvue_async import StudyOutcome


def studies_in(folder: Path, count: int) -> list[list[Path]]:
    """One-instance studies ``1.2.1`` to ``1.2.<count>``."""
    return [
        study_files(folder / str(n), instances=1, study_instance_uid=f"1.2.{n}", rows=8, columns=8)
        for n in range(1, count + 1)
    ]


async def outcomes_of(stream: AsyncIterator[StudyOutcome]) -> dict[str, StudyOutcome]:
    return {outcome.study_instance_uid: outcome async for outcome in stream}


class Api:
    """An API that takes uploads in when its gate is open, and never answers a question.

    Attributes:
        in_flight: STOW requests whose body is on its way.
        most: The most of them at once.
        begun: STOW requests so far.
        paths: How often each route was asked.
        gate: Set to let uploads in.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.most = 0
        self.begun = 0
        self.paths: Counter[str] = Counter()
        self.gate = anyio.Event()
        self._changed = anyio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.paths[f"{request.method} {request.path}"] += 1
        self._note()
        if request.method != "POST":
            await anyio.sleep_forever()
        self.in_flight += 1
        self.begun += 1
        self.most = max(self.most, self.in_flight)
        self._note()
        try:
            await self.gate.wait()
            body = await request.read()
        finally:
            self.in_flight -= 1
            self._note()
        found = re.search(rb"\x20\x00\x0d\x00UI..([0-9.]+)", body, re.DOTALL)
        assert found is not None
        return web.json_response({"StudyInstanceUID": found[1].decode(), "message": ""})

    async def until(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not is_so():
                self._changed = anyio.Event()
                await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()


async def test_every_study_has_one_outcome(
    simulator: Simulator, client: MilvueClient, tmp_path: Path
) -> None:
    stream = client.process(studies_in(tmp_path, 20))
    outcomes = [outcome async for outcome in stream]
    assert {outcome.study_instance_uid for outcome in outcomes} == set(simulator.account)
    assert len(outcomes) == 20
    for outcome in outcomes:
        assert (outcome.outcome, outcome.error, outcome.attempts) == ("done", None, 1)
        assert outcome.instances == 1
        assert outcome.bytes > 0
        assert min(outcome.upload_s, outcome.predict_s, outcome.collect_s) > 0
        assert outcome.smarturgences is not None
        assert outcome.smartxpert is not None
        assert len(outcome.datasets("smarturgences")) == 2  # of the image, and of the study
        assert outcome.paths("smarturgences") == ()
        assert outcome.datasets("trauma") == ()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_outcomes_arrive_as_each_study_ends(
    client: MilvueClient, simulator: Simulator, tmp_path: Path
) -> None:
    async def studies() -> AsyncIterator[list[Path]]:
        for study in studies_in(tmp_path, 3):
            yield study
            # The next study is not there before the outcome of this one was taken.
            await taken.wait()

    taken = anyio.Event()
    seen = 0
    async for outcome in client.process(studies()):
        seen += 1
        assert len(simulator.account) == seen, outcome
        taken.set()
        taken = anyio.Event()
    assert seen == 3


async def test_no_more_bodies_are_on_their_way_than_there_are_slots(
    token: str, tmp_path: Path
) -> None:
    api = Api()
    studies = studies_in(tmp_path, 30)
    async with (
        recorder(api, reads_bodies=False) as server,
        MilvueClient(server.url, token, max_uploads=3) as client,
        client.process(studies) as stream,
        anyio.create_task_group() as group,
    ):
        group.start_soon(outcomes_of, stream)
        await api.until(lambda: api.in_flight == 3)
        api.gate.set()
        # All go through these three slots, though no prediction ends: waiting holds none.
        waiting = "GET /v3/studies/1.2.{}/status".format
        await api.until(lambda: api.begun == 30 and api.in_flight == 0)
        assert api.most == 3
        # Their statuses are asked for by one scheduler, sixteen at a time.
        await api.until(lambda: sum(api.paths[waiting(n)] for n in range(1, 31)) == 16)
        assert max(api.paths[waiting(n)] for n in range(1, 31)) == 1
        group.cancel_scope.cancel()


async def test_no_more_studies_are_under_way_than_asked_for(token: str, tmp_path: Path) -> None:
    api = Api()
    taken = 0

    def studies() -> Iterator[list[Path]]:
        nonlocal taken
        for study in studies_in(tmp_path, 10):
            taken += 1
            yield study

    async with (
        recorder(api, reads_bodies=False) as server,
        MilvueClient(server.url, token) as client,
        client.process(studies(), max_in_flight=4) as stream,
        anyio.create_task_group() as group,
    ):
        api.gate.set()
        group.start_soon(outcomes_of, stream)
        await api.until(lambda: sum(path.startswith("GET") for path in api.paths) == 4)
        assert taken == 4
        group.cancel_scope.cancel()


async def test_one_failure_stops_nobody(token: str, tmp_path: Path) -> None:
    good = studies_in(tmp_path, 6)
    (tmp_path / "text.dcm").write_text("not DICOM")
    bad: list[Any] = [
        [],
        [tmp_path / "text.dcm"],
        [tmp_path / "missing"],
        5,
        ["a\0b"],
        [*good[0], *good[1]],
    ]
    config = SimulatorConfig(
        inference_seconds=0,
        outcomes={"1.2.3": "error", "1.2.4": "empty", "1.2.5": "forbidden"},
    )
    async with Simulator(config) as simulator, MilvueClient(simulator.url, token) as client:
        mixed = [study for pair in zip(good, bad, strict=True) for study in pair]
        outcomes = [outcome async for outcome in client.process(mixed)]
    named = {each.study_instance_uid: each for each in outcomes if each.study_instance_uid}
    assert {uid: each.outcome for uid, each in named.items()} == {
        "1.2.1": "done",
        "1.2.2": "done",
        "1.2.3": "error",
        "1.2.4": "empty",
        "1.2.5": "forbidden",
        "1.2.6": "done",
    }
    assert isinstance(named["1.2.3"].error, PredictionFailedError)
    assert named["1.2.4"].error is None
    assert named["1.2.5"].error is None
    unnamed = [each for each in outcomes if not each.study_instance_uid]
    assert len(unnamed) == 6
    assert all(each.outcome in {"rejected", "error"} and each.error for each in unnamed)
    assert sum(isinstance(each.error, InvalidStudyError) for each in unnamed) >= 4
    assert [each.study for each in unnamed if each.study in bad] != []


@pytest.mark.parametrize("transfer", ["dicomweb", "signed_url"])
@pytest.mark.parametrize("reason", ["key", "quota"])
async def test_a_refused_key_or_quota_stops_the_intake(
    transfer: Any, reason: str, token: str, tmp_path: Path
) -> None:
    """Those that were sent before go on to their end."""
    keys = frozenset({"another"}) if reason == "key" else None
    accepted = 0 if reason == "key" else 3
    config = SimulatorConfig(inference_seconds=0, api_keys=keys, quota_studies=3)
    async with (
        Simulator(config) as simulator,
        MilvueClient(simulator.url, token, max_uploads=1, clock=FakeClock()) as client,
    ):
        studies = [await load_study(files) for files in studies_in(tmp_path, 30)]
        outcomes = await outcomes_of(client.process(studies, transfer=transfer))
        assert len(simulator.account) == accepted
    counts = Counter(each.outcome for each in outcomes.values())
    assert counts == {"error": 1, "skipped": 29 - accepted, **({"done": 3} if accepted else {})}
    kind = AuthenticationError if reason == "key" else QuotaExceededError
    assert isinstance(next(o.error for o in outcomes.values() if o.outcome == "error"), kind)
    for each in outcomes.values():
        if each.outcome == "skipped":
            assert "not sent: the run stopped after: " in str(each.error)
            assert each.attempts == 0 or reason == "quota"
            assert each.instances == 1
            assert each.bytes > 0


async def test_a_key_that_is_refused_when_asking_first_stops_the_intake_too(
    token: str, tmp_path: Path
) -> None:
    asked = 0

    async def refuse(request: web.Request) -> web.Response:
        nonlocal asked
        asked += request.path.endswith("/status")
        return web.json_response({"message": "no"}, status=403)

    async with recorder(refuse) as server, MilvueClient(server.url, token) as client:
        stream = client.process(studies_in(tmp_path, 30), ask_first=True, max_in_flight=2)
        outcomes = [outcome.outcome async for outcome in stream]
    assert asked <= 4
    assert Counter(outcomes)["skipped"] >= 26


async def test_a_refusal_of_one_study_alone_does_not_stop_the_intake(
    token: str, tmp_path: Path
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"message": "no such modality"}, status=400)

    async with recorder(refuse) as server, MilvueClient(server.url, token) as client:
        outcomes = await outcomes_of(client.process(studies_in(tmp_path, 5)))
        assert len(server.requests) == 5
    assert Counter(each.outcome for each in outcomes.values()) == {"rejected": 5}


async def test_studies_that_the_server_knows_are_not_sent_again(
    simulator: Simulator, client: MilvueClient, tmp_path: Path
) -> None:
    studies = studies_in(tmp_path, 4)
    await client.post_study(studies[0])
    await client.post_study(studies[2], transfer="signed_url")
    outcomes = await outcomes_of(client.process(studies, ask_first=True))
    assert {uid: each.attempts for uid, each in outcomes.items()} == {
        "1.2.1": 0,
        "1.2.2": 1,
        "1.2.3": 0,
        "1.2.4": 1,
    }
    assert all(each.outcome == "done" for each in outcomes.values())
    assert all(account.submissions == 1 for account in simulator.account.values())


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_the_studies_raise_comes_after_the_outcomes(
    client: MilvueClient, tmp_path: Path, *, is_async: bool
) -> None:
    def raising() -> Iterator[list[Path]]:
        yield from studies_in(tmp_path, 3)
        raise LookupError("no more studies")

    async def raising_later() -> AsyncIterator[list[Path]]:
        for study in studies_in(tmp_path, 3):
            yield study
        raise LookupError("no more studies")

    stream = client.process(raising_later() if is_async else raising())
    assert [(await anext(stream)).outcome for _ in range(3)] == ["done"] * 3
    with pytest.raises(LookupError, match="no more studies"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_stages_are_told_as_a_study_goes_through_them(
    client: MilvueClient, tmp_path: Path
) -> None:
    events: list[StageChanged] = []
    await outcomes_of(client.process(studies_in(tmp_path, 1), on_event=events.append))
    assert [event.stage for event in events] == ["upload", "wait", "collect", "ended"]
    assert {event.study_instance_uid for event in events} == {"1.2.1"}
    assert all(event.bytes > 0 for event in events)
