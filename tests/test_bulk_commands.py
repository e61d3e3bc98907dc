"""`plan` and `process` as a user types them: what is said, what is sent, what nobody may read."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from anyio.from_thread import start_blocking_portal

from milvue_async.simulator import Simulator, SimulatorConfig
from tests.cli_support import TOKEN, milvue
from tests.dicom_files import study_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = "1.2.826.0.1.3680043.10.4"
_NAME = "Zwiebelfisch^Mara"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            Simulator(SimulatorConfig(inference_seconds=0))
        ) as running,
    ):
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two DX studies, one CT study, one of them in an archive, and a file that is no DICOM."""
    made = tmp_path / "in"
    study_files(made, instances=1, study_instance_uid=f"{UID}.1", seed=1)
    study_files(made, instances=1, study_instance_uid=f"{UID}.2", modality="CT", seed=2)
    [file] = study_files(tmp_path, instances=1, study_instance_uid=f"{UID}.3", seed=3)
    with zipfile.ZipFile(made / "export.bin", "w") as archive:
        archive.write(file, "a/b")
    file.unlink()
    (made / "notes.txt").write_text("hello")
    for path in made.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = _NAME
        dataset.save_as(path)
    return made


def plan(*arguments: str) -> dict[str, Any]:
    done = milvue("plan", *arguments, "--json")
    assert done.code == 0, done.err
    planned: dict[str, Any] = json.loads(done.out)
    return planned


def actions(planned: dict[str, Any]) -> dict[str, str]:
    return {study["StudyInstanceUID"]: study["action"] for study in planned["studies"]}


def test_a_plan_says_what_would_go_and_what_not_and_sends_nothing(folder: Path) -> None:
    done = milvue("plan", str(folder))
    assert done.code == 0
    lines = done.out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["aside", "send", "send", "send"]
    assert "notes.txt: not a DICOM Part 10 file" in done.out
    assert "3 to send" in done.err
    assert "nothing was sent" in done.err
    assert _NAME not in done.out + done.err


def test_filters_leave_instances_out_of_the_plan_and_of_the_run(
    simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    filters = ("--where", "Modality=DX", "--where-not", f"PatientName~^{_NAME[:4]}")
    planned = plan(str(folder), *filters)
    assert actions(planned) == {f"{UID}.3": "send"}
    reasons = [file["reason"] for file in planned["set_aside"] if file["is_filtered"]]
    assert len(reasons) == 2
    assert _NAME[:4] not in json.dumps(planned), "an operand may be a patient's name"
    output = tmp_path / "out"
    done = milvue("process", str(folder), "--output", str(output), *filters, url=simulator.url)
    assert done.code == 0, done.err
    assert set(simulator.account) == {f"{UID}.3"}


def test_a_plan_for_a_folder_of_results_says_what_an_earlier_run_did(
    simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = ("process", str(folder), "--output", str(output))
    assert milvue(*run, "--max-studies", "1", url=simulator.url).code == 1
    planned = plan(str(folder), "--output", str(output))
    assert sorted(actions(planned).values()) == ["keep", "send", "send"]
    assert milvue(*run, url=simulator.url).code == 0
    study_files(folder, instances=2, study_instance_uid=f"{UID}.1", seed=1)
    planned = plan(str(folder), "--output", str(output))
    assert actions(planned) == {
        f"{UID}.1": "compare",
        f"{UID}.2": "keep",
        f"{UID}.3": "keep",
    }
    assert planned["bytes_to_send"] == 0
    assert {each.submissions for each in simulator.account.values()} == {1}


def test_an_archive_is_sent_as_what_is_in_it(
    simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = ("process", str(folder), "--output", str(output))
    for _ in range(2):
        assert milvue(*run, url=simulator.url).code == 0
    assert {uid: each.submissions for uid, each in simulator.account.items()} == {
        f"{UID}.{number}": 1 for number in (1, 2, 3)
    }
    assert not (output / ".spool").exists()


def test_neither_the_key_nor_a_patient_is_where_they_do_not_belong(
    simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = ("--debug", "process", str(folder), "--output", str(output), "--json")
    done = milvue(*run, url=simulator.url)
    assert done.code == 0, done.err
    for secret in (TOKEN, _NAME, _NAME.split("^", maxsplit=1)[0]):
        assert secret not in done.out + done.err
        for path in output.rglob("*"):
            if path.is_file() and path.suffix != ".dcm":
                assert secret.encode() not in path.read_bytes(), path


def test_a_page_of_the_results_is_made_again(
    simulator: Simulator, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = ("process", str(folder), "--output", str(output), "--no-report")
    assert milvue(*run, url=simulator.url).code == 0
    assert not (output / "report.html").exists()
    done = milvue("report", str(output), "--language", "fr")
    assert (done.code, done.out.strip()) == (0, str(output / "report.html"))
    page = (output / "report.html").read_text()
    assert f"{UID}.1" in page
    assert len(list((output / "report").rglob("*.jpg"))) == 3
    assert milvue("report", str(tmp_path)).code == 2


@pytest.mark.parametrize("expression", ["Modality", "=DX", "Nothing=1", "PatientName~("])
def test_a_filter_that_cannot_be_one_is_refused_in_one_line(folder: Path, expression: str) -> None:
    done = milvue("plan", str(folder), "--where", expression)
    assert done.code == 2
    assert done.err.startswith("milvue-async: --where")
    assert done.err.count("\n") == 1
