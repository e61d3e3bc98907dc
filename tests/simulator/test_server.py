"""The server around the routes: ports, folders, logs, broken clients."""

from __future__ import annotations

import logging
import shutil
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest
from anyio.abc import SocketAttribute

from milvue_async.simulator import Simulator, SimulatorConfig
from tests.dicom_files import study_files
from tests.simulator.support import KEY, Api, multipart
from tests.simulator.wire import head, port_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.conftest import StartSimulator
    from tests.simulator.support import Clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def below(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def files_below(folder: Path) -> list[Path]:
    return [path for path in below(folder) if path.is_file()]


def modes(paths: list[Path]) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in paths}


async def test_it_listens_on_loopback_at_the_given_port(api: Api) -> None:
    port = port_of(api)
    await api.simulator.stop()
    async with Simulator(port=port) as simulator:
        assert simulator.url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="address already in use"):
            await Simulator(port=port).start()


async def test_a_simulator_that_does_not_run_has_no_url_but_its_account(
    api: Api, tmp_path: Path
) -> None:
    uid = await api.submit(study_files(tmp_path))
    await api.simulator.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = api.simulator.url
    assert api.simulator.account[uid].submissions == 1


async def test_a_given_folder_is_private_and_stays(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    files = study_files(tmp_path)
    api = await start_simulator(folder=folder)
    uid = await api.submit(files)
    clock.now += 2
    await api.results(uid)
    await api.get(f"/v3/smarturgences/{uid}")
    await api.simulator.stop()
    kept = files_below(folder)
    assert {file.read_bytes() for file in files} <= {file.read_bytes() for file in kept}
    own = {folder / "lock", folder / "simulator.json", folder / "studies" / f"{uid}.json"}
    assert len(set(kept) - own) == 2 + 3 + 2  # received, results, JSON; no request's body
    assert modes(kept) == {0o600}
    assert modes(list(set(below(folder)) - set(kept))) == {0o700}


async def test_its_own_folder_is_removed_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Simulator():
        assert len(below(tmp_path)) > 1
    assert below(tmp_path) == [tmp_path]


async def test_a_client_that_leaves_in_mid_upload_leaves_nothing_behind(
    start_simulator: StartSimulator, tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = await start_simulator(folder=folder, quota_studies=1)
    files = study_files(tmp_path)
    body = multipart(files)
    async with await anyio.connect_tcp("127.0.0.1", port_of(api)) as stream:
        head = (
            f"POST /v3/studies HTTP/1.1\r\nHost: x\r\nx-goog-meta-owner: {KEY}\r\n"
            "Content-Type: multipart/related; boundary=frontier\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        await stream.send(head.encode() + body[: len(body) // 2])
        while not entries(folder / "incoming"):
            await anyio.lowlevel.checkpoint()
    while entries(folder / "incoming"):
        await anyio.lowlevel.checkpoint()
    assert files_below(folder) == [folder / "lock", folder / "simulator.json"]
    assert caplog.records == []
    with anyio.fail_after(10):  # within which the quota is given back
        while (await api.post_study(files)).status == 429:
            await anyio.lowlevel.checkpoint()


async def test_a_client_that_leaves_in_mid_download_got_no_delivery(
    api: Api, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uid = await api.submit(study_files(tmp_path, rows=1000, columns=1000))
    clock.now += 2
    await api.results(uid)
    async with await anyio.connect_tcp("127.0.0.1", port_of(api)) as stream:
        path = f"/v3/studies/{uid}?inference_command=smarturgences"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nx-goog-meta-owner: {KEY}\r\n\r\n"
        await stream.send(head.encode())
        await stream.receive(100)
    await api.simulator.stop()
    assert api.simulator.account[uid].deliveries == {"smarturgences": {"dicomweb": 1}}
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_client_that_stops_reading_and_then_resets_got_no_delivery(
    api: Api, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uid = await api.submit(study_files(tmp_path, rows=2000, columns=2000))
    clock.now += 2
    listed = (await api.results(uid, signed_url="true")).json()["signed_urls"]
    wado = f"/v3/studies/{uid}?inference_command=smarturgences"
    for path in (wado, listed[0].removeprefix(api.simulator.url)):
        async with await anyio.connect_tcp("127.0.0.1", port_of(api)) as stream:
            connection = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio, not Django
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.send(head("GET", path))
            await stream.receive(100)
            for _ in range(300):  # turns of the loop, in which the buffers fill
                await anyio.lowlevel.checkpoint()
    await api.simulator.stop()
    assert api.simulator.account[uid].deliveries == {}
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_neither_keys_nor_queries_are_logged(
    api: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    uid = await api.submit(study_files(tmp_path))
    await api.get("/blobs/x?expires=1&signature=c0ffee")
    await api.get(f"/v3/studies/{uid}/status", private="c0ffee")
    for bad in (
        "GET /blobs/x?signature=c0ffee\x01 HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nx-k: c0ffee\x01\r\n",
    ):
        async with await anyio.connect_tcp("127.0.0.1", port_of(api)) as stream:
            await stream.send(f"{bad}\r\n".encode())
            assert b" 400 " in await stream.receive()
    assert "Error handling request" in caplog.text
    assert "c0ffee" not in caplog.text
    assert KEY not in caplog.text


async def test_a_fault_of_its_own_is_a_500_that_tells_nothing(
    start_simulator: StartSimulator, tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = await start_simulator(folder=folder)
    shutil.rmtree(folder)
    body, kind = multipart(study_files(tmp_path)), "multipart/related; boundary=frontier"
    async with api.session.post(
        f"{api.simulator.url}/v3/studies",
        data=body,
        headers={**api.headers, "Content-Type": kind},
    ) as answer:
        assert answer.status == 500
        assert await answer.json() == {"message": "The simulator failed"}
    assert "post_study failed" in caplog.text
    await api.simulator.stop()


async def test_an_answer_that_breaks_off_is_cut_without_its_closing_boundary(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    api = await start_simulator(folder=folder)
    uid = await api.submit(study_files(tmp_path))
    clock.now += 2
    await api.results(uid)
    last = max((folder / "results").rglob("*.dcm"))
    last.unlink()
    last.mkdir()
    with pytest.raises(aiohttp.ClientPayloadError):
        await api.results(uid)
    assert api.simulator.account[uid].deliveries == {"smarturgences": {"dicomweb": 1}}


async def test_results_in_a_given_folder_serve_the_next_simulator(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    files = study_files(tmp_path)
    seen = []
    for _ in range(2):
        api = await start_simulator(folder=folder)
        uid = await api.submit(files)
        clock.now += 2
        seen.append([content for _, content in (await api.results(uid)).parts()])
        await api.simulator.stop()
    assert seen[0] == seen[1]
    assert len(entries(folder / "results")) == 2  # the DICOM results, and the JSON they are of


@pytest.mark.parametrize("host", ["x:99999", "x:abc", ":"])
async def test_a_host_header_that_makes_no_url_is_a_bad_request(api: Api, host: str) -> None:
    answer = await api.request("GET", "/v3/studies/1.2.3/status", headers={"Host": host})
    assert (answer.status, answer.json()) == (400, {"message": "The Host header is not usable"})


def test_the_keys_of_a_config_are_not_in_its_repr() -> None:
    assert KEY not in repr(SimulatorConfig(api_keys=frozenset({KEY})))


@pytest.mark.parametrize("missing", ["numpy", "PIL"])
def test_a_missing_extra_is_said_in_one_line(missing: str) -> None:
    script = f"import sys; sys.modules['{missing}'] = None; import milvue_async.simulator"
    ran = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.stderr.splitlines()[-1] == (
        "ImportError: the simulator needs its extra: pip install 'milvue-async[simulator]'"
    )


async def test_results_made_by_processes_are_those_made_by_threads(
    start_simulator: StartSimulator, clock: Clock, tmp_path: Path, folder: Path
) -> None:
    seen = []
    for processes in (0, 2):
        api = await start_simulator(processes=processes, folder=folder / str(processes))
        uid = await api.submit(study_files(tmp_path))
        clock.now += 2
        json = (await api.get(f"/v3/smarturgences/{uid}")).body
        parts = (await api.results(uid)).parts()
        seen.append((json, [content for _, content in parts]))
        assert modes(files_below(folder / str(processes) / "results")) == {0o600}
    assert seen[0] == seen[1]
