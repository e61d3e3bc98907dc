"""When to ask for a prediction, held against servers that are simulated here without any I/O."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvue_async.protocol.expectation import Expectation

SECONDS = st.floats(0, 1e6, allow_nan=False)
LESSONS = st.tuples(st.integers(0, 5000), st.none() | SECONDS, SECONDS, SECONDS)


def taught(lessons: list[tuple[int, float | None, float, float]]) -> Expectation:
    expectation = Expectation()
    for place, running_at, ended_at, lag in lessons:
        running = None if running_at is None else min(running_at, ended_at)
        expectation.learn(place=place, running_at=running, ended_at=ended_at, lag=lag)
    return expectation


@given(st.lists(LESSONS, max_size=60), SECONDS, st.integers(0, 100))
def test_the_next_question_is_never_at_once_and_never_put_off_for_ever(
    lessons: list[tuple[int, float | None, float, float]], elapsed: float, questions: int
) -> None:
    expectation = taught(lessons)
    delay = expectation.delay(elapsed, questions)
    longest = max((ended_at for _, _, ended_at, _ in lessons), default=0.0)
    least = expectation.least if questions or not lessons else 0.0
    assert least <= delay <= max(expectation.cap, longest)


@given(st.lists(LESSONS, max_size=60))
def test_at_least_as_many_studies_may_end_as_lately_did(
    lessons: list[tuple[int, float | None, float, float]],
) -> None:
    lately = [place for place, *_ in lessons[-90:]]
    assert taught(lessons).places >= max(lately, default=0)


def test_nothing_is_expected_before_anything_was_seen() -> None:
    expectation = Expectation(first=2.0)
    assert expectation.earliest is None
    assert expectation.delay(0.0, 0) == 2.0
    assert expectation.delay(2.0, 1) == 1.0


def test_what_takes_long_is_first_asked_for_when_it_may_have_ended() -> None:
    expectation = Expectation()
    for _ in range(20):
        expectation.learn(place=3, running_at=59.0, ended_at=61.0)
    assert 55.0 < expectation.delay(0.0, 0) < 62.0
    assert expectation.delay(60.0, 1) < 3.0, "and then more often"
    assert expectation.delay(600.0, 9) == expectation.cap, "until it is overdue"


@dataclass
class Queue:
    """A server of some slots that is asked as an expectation says, one question after another."""

    studies: int
    slots: int
    service: tuple[float, float]
    seed: int = 1
    polls: int = 0
    delays: list[float] = field(default_factory=list)

    def run(self) -> None:
        chance = random.Random(self.seed)
        free = [0.0] * self.slots
        finished = []
        for _ in range(self.studies):
            finished.append(heapq.heappop(free) + chance.uniform(*self.service))
            heapq.heappush(free, finished[-1])
        expectation = Expectation()
        running = list(range(self.studies))
        since: dict[int, float] = {}
        seen: dict[int, float] = {}
        questions: dict[int, int] = {}
        due: list[tuple[float, int]] = []
        now = 0.0
        while running:
            for study in running[: expectation.places]:
                if study not in since:
                    since[study], questions[study] = now, 0
                    heapq.heappush(due, (now + expectation.delay(0.0, 0), study))
            at, study = heapq.heappop(due)
            now = max(now, at) + 0.002
            self.polls += 1
            questions[study] += 1
            if finished[study] <= now:
                place = running.index(study)
                running.pop(place)
                was = seen.get(study)
                expectation.learn(
                    place=place,
                    running_at=None if was is None else was - since[study],
                    ended_at=now - since[study],
                )
                self.delays.append(now - finished[study])
                continue
            seen[study] = now
            delay = expectation.delay(now - since[study], questions[study])
            heapq.heappush(due, (now + delay, study))


@pytest.mark.parametrize("seed", range(5))
def test_of_forty_slots_each_end_is_seen_soon_and_after_few_questions(seed: int) -> None:
    queue = Queue(300, 40, (1.5, 4.5), seed)
    queue.run()
    assert len(queue.delays) == 300
    assert mean(queue.delays) <= 0.35
    assert queue.polls / 300 <= 6


@pytest.mark.parametrize(("slots", "service"), [(1, (2.0, 2.0)), (4, (1.0, 3.0)), (48, (30, 90))])
def test_other_servers_are_waited_for_too(slots: int, service: tuple[float, float]) -> None:
    queue = Queue(4 * slots + 4, slots, service)
    queue.run()
    assert mean(queue.delays) <= max(2.0, service[1] / 5)
