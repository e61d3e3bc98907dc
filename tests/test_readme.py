"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async import MilvueClient
from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import ROOT, TOKEN, environment
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")
UID = "1.2.826.0.1.3680043.10.3"
_SECONDS = 60


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            Simulator(SimulatorConfig(inference_seconds=0))
        ) as running,
    ):
        yield running


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_runs_as_it_stands(simulator: Simulator, tmp_path: Path) -> None:
    hands = study_files(tmp_path / "hands", study_instance_uid=f"{UID}.1")
    for number, file in enumerate(hands, start=1):
        file.rename(tmp_path / f"hand_{number}.dcm")
    for name, instances in (("a", 2), ("b", 1)):
        uid = f"{UID}.{instances + 1}"
        files = study_files(tmp_path / name, instances=instances, study_instance_uid=uid)
        for number, file in enumerate(files, start=1):
            file.rename(tmp_path / name / f"{number}.dcm")
    example = blocks("python")[0]
    code = example.replace("https://predict.milvue.com", simulator.url)
    done = subprocess.run(  # noqa: S603  the README's own example
        [sys.executable, "-c", code.replace("your API key", TOKEN)],
        cwd=tmp_path,
        env=environment(None),
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"{UID}.2 done None" in done.stdout
    assert f"{UID}.3 done None" in done.stdout
    assert len(list(tmp_path.glob("2.25.*.dcm"))) == len(hands) + 1  # with the recap
    assert (tmp_path / "results" / f"{UID}.2" / "smartxpert.json").is_file()
    assert len(example.splitlines()) <= 22


def test_every_method_and_route_of_the_table_exists() -> None:
    table = re.findall(r"^\| (`\w+\(.*?) \| ", README, re.MULTILINE)
    methods = {name for row in table for name in re.findall(r"`(\w+)\(", row)}
    assert len(methods) >= 9
    assert all(callable(getattr(MilvueClient, name)) for name in methods)


def test_the_command_of_the_package_is_the_one_that_the_readme_calls() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["milvue-async"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_the_checks_of_ci_are_the_readmes_own_commands() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    needles = re.findall(r"readme_command '([^']+)'", ci)
    assert len(needles) == 2
    for needle in needles:
        first = next(line for line in README.splitlines() if needle in line)
        assert first.startswith("python3 -m venv .venv && ")
