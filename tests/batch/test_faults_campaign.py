"""A night with faults of every kind: each study has one outcome, and was accepted once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, get_args

import pytest

from milvue_async import MilvueClient, process_directory
from milvue_async.simulator import Fault, Simulator, SimulatorConfig
from milvue_async.simulator.faults import FaultKind
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async.routes import Transfer

_RUNS = 8


def faults(probability: float) -> tuple[Fault, ...]:
    """Every kind there is, each on a share of all requests, and a 429 that asks for patience."""
    others = set(get_args(FaultKind)) - {"delay"}
    return (
        *(Fault(kind=kind, probability=probability) for kind in sorted(others)),
        Fault(kind="delay", seconds=0.3, probability=probability),
        Fault(kind="status", status=429, retry_after=1, probability=probability),
    )


@pytest.mark.parametrize(
    ("transfer", "studies", "probability", "seconds"),
    [
        ("dicomweb", 60, 0.02, 1),
        ("signed_url", 15, 0.02, 1),
        pytest.param("dicomweb", 2000, 0.01, 2, marks=pytest.mark.campaign),
    ],
)
async def test_nothing_is_lost_and_nothing_is_accepted_twice(
    token: str,
    tmp_path: Path,
    *,
    transfer: Transfer,
    studies: int,
    probability: float,
    seconds: float,
) -> None:
    for number in range(studies):
        study_files(
            tmp_path / "in" / str(number),
            instances=1,
            rows=16,
            columns=16,
            study_instance_uid=f"1.2.{number}",
            seed=number,
        )
    config = SimulatorConfig(inference_seconds=0.3, faults=faults(probability), seed=studies)
    output = tmp_path / "out"
    async with (
        Simulator(config) as simulator,
        MilvueClient(
            simulator.url,
            token,
            idle_timeout=seconds,
            request_timeout=2 * seconds,
            retry_base=0.1,
            retry_cap=1,
            poll_interval=0.2,
        ) as client,
    ):
        outcomes: Counter[str] = Counter()
        for run in range(_RUNS):
            if outcomes != {"done": studies}:
                summary = await process_directory(
                    client, tmp_path / "in", output, transfer=transfer, retry_failed=run > 0
                )
                outcomes = summary.outcomes
                assert sum(outcomes.values()) == studies
        account = simulator.account
    assert outcomes == {"done": studies}
    completed = Counter(
        sum(submission.complete_at is not None for submission in each.history)
        for each in account.values()
    )
    assert completed == {1: studies}, "a second announcement is none, until its files come"
    if transfer == "dicomweb":
        assert {each.submissions for each in account.values()} == {1}
    for each in account.values():
        assert set(each.deliveries) == {"smarturgences", "smartxpert"}
        assert all(counts[transfer] >= 1 for counts in each.deliveries.values())
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    assert Counter(line["StudyInstanceUID"] for line in lines) == dict.fromkeys(account, 1)
    assert not list(output.rglob("*.partial"))
