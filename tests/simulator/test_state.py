"""A folder that outlives its simulator, and memory that does not grow with what is sent."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pydicom
import pytest
from anyio import to_thread

from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import large_instance, study_files
from tests.simulator.processes import simulating
from tests.simulator.support import ACCEPT, KEY, Api, multipart

if TYPE_CHECKING:
    import aiohttp

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


async def put(api: Api, url: str, body: bytes) -> int:
    return (await api.request("PUT", url, body=body)).status


async def test_the_next_simulator_in_a_folder_knows_every_study(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder)
    files = study_files(tmp_path, instances=3)
    answer = await api.post_study(files, siteId="s")
    uid = answer.json()["StudyInstanceUID"]
    clock.now += 2
    await api.status(uid)
    results = await api.results(uid, language="fr")
    await api.get((await api.results(uid, signed_url="true")).json()["signed_urls"][0])
    await api.get(f"/v3/smartxpert/{uid}")
    await api.request("POST", f"/v3/interesting/{uid}")
    before = api.simulator.account
    await api.simulator.stop()

    again = await start_simulator(folder=folder)
    assert again.simulator.account == before
    assert await again.status(uid) == "done"
    parts = (await again.results(uid, language="fr")).parts()
    assert [content for _, content in parts] == [content for _, content in results.parts()]


async def test_the_queue_goes_on_where_it_was(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder, slots=2, inference_seconds=10)
    uids = []
    for seed in range(5):
        uids.append(await api.submit(study_files(tmp_path, seed=seed)))
        clock.now += 0.125
    queue = api.simulator.queue
    await api.simulator.stop()
    clock.now += 5
    again = await start_simulator(folder=folder, slots=2, inference_seconds=10)
    expected = [(entry.study_instance_uid, entry.slot, entry.finished_at) for entry in queue]
    assert [
        (entry.study_instance_uid, entry.slot, entry.finished_at) for entry in again.simulator.queue
    ] == expected
    late = await again.submit(study_files(tmp_path, seed=9))
    assert again.simulator.account[late].history[0].started_at == 1020.125
    clock.now = 1011
    assert [await again.status(uid) for uid in uids] == ["done"] * 2 + ["running"] * 3


async def test_a_folder_serves_a_simulator_with_fewer_slots(
    start_simulator: StartSimulator, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder, slots=3, inference_seconds=10)
    for seed in range(3):
        await api.submit(study_files(tmp_path, seed=seed))
    await api.simulator.stop()
    again = await start_simulator(folder=folder, slots=1, inference_seconds=10)
    late = await again.submit(study_files(tmp_path, seed=9))
    assert again.simulator.account[late].history[0].started_at == 1010


async def test_an_upload_by_signed_urls_goes_on_with_the_next_simulator(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder)
    files = study_files(tmp_path)
    announced = (await api.post_study(files, signed_url="true")).json()
    urls = list(announced["signed_urls"].values())
    content = {url: file.read_bytes() for file in files for url in urls if is_for(url, file)}
    assert await put(api, urls[0], content[urls[0]]) == 200
    port = int(api.simulator.url.rpartition(":")[2])
    await api.simulator.stop()

    config = SimulatorConfig(folder=folder)
    async with Simulator(config, port=port, clock=clock) as simulator:
        again = Api(api.session, simulator)
        assert await put(again, urls[1], content[urls[1]]) == 200
        clock.now += 2
        assert await again.status(announced["StudyInstanceUID"]) == "done"


def is_for(url: str, file: Path) -> bool:
    return f"%2F{pydicom.dcmread(file).SOPInstanceUID}?" in url


async def test_the_quota_remembers_what_was_accepted(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    for status in (200, 429):
        api = await start_simulator(folder=folder, quota_studies=1)
        assert (await api.post_study(study_files(tmp_path))).status == status
        await api.simulator.stop()
    clock.now += 24 * 3600
    api = await start_simulator(folder=folder, quota_studies=1)
    assert (await api.post_study(study_files(tmp_path))).status == 200


async def test_a_clock_that_was_put_forward_stays_there(
    start_simulator: StartSimulator, folder: Path
) -> None:
    api = await start_simulator(folder=folder)
    await api.request("PUT", "/control/clock", body=b'{"ahead": 3600}')
    await api.simulator.stop()
    again = await start_simulator(folder=folder)
    assert (await again.get("/control/clock")).json() == {"now": 4600.0, "ahead": 3600.0}


async def test_what_was_forgotten_on_request_stays_forgotten(
    start_simulator: StartSimulator, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder)
    (file,) = study_files(tmp_path, instances=1)
    (url,) = (await api.post_study([file], signed_url="true")).json()["signed_urls"].values()
    await api.request("POST", "/control/reset")
    await api.simulator.stop()
    again = await start_simulator(folder=folder)
    assert again.simulator.account == {}
    assert await put(again, f"{again.simulator.url}/{url.split('/', 3)[3]}", b"") == 403


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"secret": 3}', b"\xff"])
@pytest.mark.parametrize("name", ["simulator.json", "studies/1.2.3.json"])
async def test_a_folder_with_a_file_that_no_simulator_wrote_is_refused(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / "studies").mkdir(parents=True)
    (folder / name).write_bytes(content)
    with pytest.raises(OSError, match="this simulator did not write that file") as raised:
        await Simulator(SimulatorConfig(folder=folder)).start()
    assert raised.value.filename == str(folder / name)


async def test_a_study_that_cannot_be_written_down_is_not_called_accepted(
    start_simulator: StartSimulator, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder)
    shutil.rmtree(folder / "studies")
    files = study_files(tmp_path)
    headers = {**api.headers, "Content-Type": "multipart/related; boundary=frontier"}
    url = f"{api.simulator.url}/v3/studies"
    async with api.session.post(url, data=multipart(files), headers=headers) as answer:
        assert answer.status == 500
    (folder / "studies").mkdir()
    await api.submit(files)
    before = api.simulator.account
    await api.simulator.stop()
    assert (await start_simulator(folder=folder)).simulator.account == before


async def post(session: aiohttp.ClientSession, url: str, body: bytes) -> str:
    kind = "multipart/related; boundary=frontier"
    headers = {"x-goog-meta-owner": KEY, "Content-Type": kind, "Accept": ACCEPT}
    async with session.post(f"{url}/v3/studies", data=BytesIO(body), headers=headers) as answer:
        assert answer.status == 200
        return str((await answer.json())["StudyInstanceUID"])


async def test_what_a_killed_simulator_had_accepted_is_not_lost(
    api: Api, tmp_path: Path, folder: Path
) -> None:
    options = ("--folder", str(folder), "--service", "0")
    with simulating(*options) as killed:
        uid = await post(api.session, killed.url, multipart(study_files(tmp_path)))
        await to_thread.run_sync(killed.end, signal.SIGKILL)
    with simulating(*options) as running:
        url = f"{running.url}/control/account/{uid}"
        async with api.session.get(url) as answer:
            account = await answer.json()
    assert (account["status"], account["submissions"]) == ("done", 1)
    assert list((folder / "incoming").iterdir()) == []


def refusal(folder: Path) -> str:
    """What a second simulator in a folder says; it must end by itself."""
    command = [sys.executable, "-m", "milvue_async", "simulate", "--port", "0"]
    ended = subprocess.run(  # noqa: S603  our own command
        [*command, "--folder", str(folder)], capture_output=True, text=True, check=False, timeout=20
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


def test_a_second_simulator_in_a_folder_refuses_until_the_first_one_is_gone(folder: Path) -> None:
    with simulating("--folder", str(folder)) as first:
        (folder / "incoming" / "upload").touch()
        problem = f"milvue-async: another simulator is using this folder: {folder}\n"
        assert refusal(folder) == problem
        assert (folder / "incoming" / "upload").exists()
        first.end(signal.SIGKILL)
    with simulating("--folder", str(folder)) as next_one:
        assert next_one.line.startswith("Simulated Milvue API v3")
        assert refusal(folder) == problem


async def test_simulators_of_one_program_do_not_share_a_folder_either(folder: Path) -> None:
    config = SimulatorConfig(folder=folder)
    async with Simulator(config) as first:
        with pytest.raises(OSError, match="another simulator is using this folder"):
            await Simulator(config).start()
        assert first.account == {}
    async with Simulator(config):
        pass


async def test_a_simulator_that_could_not_start_leaves_its_folder_to_the_next(
    folder: Path,
) -> None:
    (folder / "studies").mkdir(parents=True)
    (folder / "simulator.json").write_text("{}")
    with pytest.raises(OSError, match="did not write that file"):
        await Simulator(SimulatorConfig(folder=folder)).start()
    (folder / "simulator.json").unlink()
    async with Simulator(SimulatorConfig(folder=folder)) as simulator:
        port = int(simulator.url.rpartition(":")[2])
        elsewhere = SimulatorConfig(folder=folder.with_name("other"))
        with pytest.raises(OSError, match="address already in use"):
            await Simulator(elsewhere, port=port).start()
    async with Simulator(elsewhere):
        pass


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has had, in MB (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")
async def test_memory_does_not_grow_with_the_bytes_that_are_sent(api: Api, tmp_path: Path) -> None:
    bodies = [multipart([large_instance(tmp_path / f"{number}.dcm", 16)]) for number in range(2)]
    with simulating() as running:
        await post(api.session, running.url, multipart(study_files(tmp_path)))
        before = peak_megabytes(running.process.pid)
        async with anyio.create_task_group() as tasks:
            for body in bodies * 8:  # 268 MB
                tasks.start_soon(post, api.session, running.url, body)
        assert peak_megabytes(running.process.pid) - before < 120
