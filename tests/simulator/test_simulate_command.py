"""``milvue-async simulate``: its options and its configuration file."""

from __future__ import annotations

import json
import signal
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from milvue_async.cli import run
from milvue_async.simulator import (
    Exponential,
    Fault,
    Simulator,
    SimulatorConfig,
    Uniform,
    config_from,
    read_config_file,
)
from tests.simulator.processes import simulating
from tests.simulator.support import KEY, OTHER_KEY

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = f"""
seed = 7
slots = 4
inference_seconds = "1.5..4.5"
json_lag_seconds = 1
forbidden_commands = ["smartxpert"]
api_keys = ["{KEY}"]
quota_studies = 100
requests_per_second = 20
retry_after = 30
signed_url_seconds = 60
folder = "kept"
max_body_bytes = 1000000
gzip_parts = true
faults = ["get_study:truncate:0.5", {{ kind = "status", status = 502, every = 4 }}]

[shares]
error = 0.01
empty = 0.05

[outcomes]
"1.2.3" = "forbidden"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "simulator.toml"
    path.write_text(EVERYTHING)
    return path


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own server
        return json.load(answer)


def test_a_file_says_everything_that_a_config_can(file: Path) -> None:
    assert config_from(read_config_file(file)) == SimulatorConfig(
        seed=7,
        slots=4,
        inference_seconds=Uniform(1.5, 4.5),
        json_lag_seconds=1,
        forbidden_commands=frozenset({"smartxpert"}),
        api_keys=frozenset({KEY}),
        quota_studies=100,
        requests_per_second=20,
        retry_after=30,
        signed_url_seconds=60,
        folder=file.parent / "kept",
        max_body_bytes=1_000_000,
        gzip_parts=True,
        faults=(
            Fault(kind="truncate", route="get_study", probability=0.5),
            Fault(kind="status", status=502, every=4),
        ),
        shares={"error": 0.01, "empty": 0.05},
        outcomes={"1.2.3": "forbidden"},
    )


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    assert config_from(read_config_file(tmp_path / "empty.toml")) == SimulatorConfig()


def test_faults_may_be_tables_and_service_times_numbers(tmp_path: Path) -> None:
    path = tmp_path / "simulator.toml"
    path.write_text('inference_seconds = 3\n[[faults]]\nkind = "hang"\nroute = "PUT **"\n')
    expected = SimulatorConfig(inference_seconds=3, faults=(Fault(kind="hang", route="PUT **"),))
    assert config_from(read_config_file(path)) == expected
    assert config_from({"inference_seconds": "exp:3"}).service_time == Exponential(3)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"slot": 3}, "slot: Unexpected keyword argument"),
        ({"slots": "many"}, "slots: Input should be a valid integer"),
        ({"slots": 0}, "slots is 0"),
        ({"inference_seconds": "soon"}, "service time 'soon' is not seconds"),
        ({"shares": {"broken": 0.1}}, "shares: broken"),
        ({"shares": 3}, "shares: Input should be a valid dictionary"),
        ({"outcomes": {"1.2": "broken"}}, "outcomes: 1.2: Input should be 'done', "),
        ({"faults": ["**:hand"]}, "fault: kind: "),
        ({"faults": "**:hang"}, "faults: Input should be a valid tuple"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_one_line(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        config_from(table)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--fault", "**:hand"], "fault: kind: Input should be 'status'"),
        (["--share", "error"], "'error' is not OUTCOME=SHARE"),
        (["--share", "error=half"], "shares: error: Input should be a valid number"),
        (["--outcome", "=error"], "'' is not UID=OUTCOME"),
        (["--slots", "0"], "slots is 0"),
        (["--service", "soon"], "service time 'soon'"),
        (["--config", "missing.toml"], "'missing.toml' does not exist"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *arguments]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "problem"), [("slots = ", "simulator.toml: "), ("slots = []", "slots: Input should")]
)
def test_a_file_that_cannot_be_is_a_usage_error(
    file: Path, text: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert run(["simulate", "--config", str(file)]) == 2
    assert problem in capsys.readouterr().err


def test_a_folder_of_something_else_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "simulator.json").write_text("{}")
    assert run(["simulate", "--folder", str(tmp_path), "--port", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("milvue-async: this simulator did not write that file: ")


def test_options_go_before_the_file_and_add_to_what_there_may_be_many_of(file: Path) -> None:
    options = ["--slots", "2", "--key", OTHER_KEY, "--fault", "get_status:delay:seconds=0"]
    with simulating("--config", str(file), *options) as running:
        assert get(f"{running.url}/control/queue")["slots"] == 2
        faults = [each["fault"]["kind"] for each in get(f"{running.url}/control/faults")]
        assert faults == ["truncate", "status", "delay"]
        for key, status in [(KEY, 404), (OTHER_KEY, 404), (KEY.replace("2", "3"), 403)]:
            request = urllib.request.Request(  # noqa: S310  our own server
                f"{running.url}/v3/studies/1.2/status", headers={"x-goog-meta-owner": key}
            )
            with pytest.raises(urllib.error.HTTPError) as raised:
                urllib.request.urlopen(request, timeout=10)  # noqa: S310  likewise
            with raised.value:
                assert raised.value.code == status


def test_it_says_where_it_listens_and_ends_cleanly_when_terminated() -> None:
    with simulating() as running:
        assert running.line == (f"Simulated Milvue API v3 on {running.url} (any UUIDv4 is a key)\n")
        assert running.url.startswith("http://127.0.0.1:")
        assert running.end(signal.SIGTERM) == (0, "")


def test_it_warns_loudly_when_others_can_reach_it() -> None:
    with simulating("--host", "0.0.0.0", "--key", KEY) as running:  # noqa: S104  that is the point
        assert get(f"{running.url}/control/queue")["queue"] == []
        assert "with keys of its own" in running.line
        _, said = running.end(signal.SIGTERM)
    assert said.startswith("WARNING: the simulator listens on 0.0.0.0, not on this machine alone.")


async def test_a_simulator_in_a_program_warns_as_loudly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Simulator(host="0.0.0.0") as simulator:  # noqa: S104  that is the point
        assert simulator.url.startswith("http://127.0.0.1:")
    async with Simulator(host="::1") as simulator:
        assert simulator.url.startswith("http://[::1]:")
    async with Simulator(host="localhost") as simulator:
        assert simulator.url.startswith("http://localhost:")
    (record,) = caplog.records
    assert record.getMessage().startswith("WARNING: the simulator listens on 0.0.0.0")
