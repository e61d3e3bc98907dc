"""Whole runs over a directory, beside what one would write by hand with aiohttp.

Run from the root of the checkout: ``python -m benchmarks.bulk queue``, ``small`` or ``waiting``.

queue    300 studies, 40 inference slots, 1.5 to 4.5 s each, 10 ms round trip: how long all take
         beside what the slots need, how soon an end is seen, and after how many questions
small    2,000 small studies and a server without latency: studies a second, ledger, manifest and
         files on disk included, beside bare aiohttp calls that make the same requests
waiting  10,000 studies that wait for their predictions at once: resident memory of each
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio

from tests.dicom_files import instance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_KEY = "22209633-26ea-4b35-a197-e55c375dc36f"
_COMMANDS = ("smarturgences", "smartxpert")
_UPLOADS = 8
_POLL_SECONDS = 1.0
_FIRST = 1_000_000_000
_ROOT = "1.2.826.0.1.3680043.10.511"
_BOUNDARY = "benchmark-boundary"


def _make_studies(folder: Path, studies: int) -> None:
    """Studies of one instance of 64 x 64 pixels, a hundred in a folder."""
    template = f"{_ROOT}.9999999999"
    dataset = instance(study_instance_uid=template)
    dataset.SOPInstanceUID = f"{template}.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = bytes(2 * 64 * 64)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    for number in range(studies):
        parent = folder / f"{number // 100:03}"
        parent.mkdir(parents=True, exist_ok=True)
        content = buffer.getvalue().replace(b"9999999999", str(_FIRST + number).encode())
        (parent / f"{number}.dcm").write_bytes(content)


@contextmanager
def _server(*options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.inference", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  ours
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


class _ByHand:
    """Bare aiohttp calls.

    Args:
        session: Open.
        url: The server's.
        whole: Held over a whole study; None for no limit.
        poll_seconds: Between two questions.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str, whole: anyio.Semaphore, poll_seconds: float
    ) -> None:
        self._session = session
        self._url = url
        self._whole = whole
        self._upload = anyio.Semaphore(_UPLOADS)
        self._poll_seconds = poll_seconds

    async def study(self, path: Path) -> None:
        """Take one study all the way; results are read and dropped."""
        async with self._whole:
            await self.note(path.name, "submitting")
            async with self._upload:
                uid = await self._post(path.read_bytes())
            await self.note(path.name, "submitted")
            status = f"/v3/studies/{uid}/status"
            while (await self._json(status))["status"] != "done":  # noqa: ASYNC110  a poll
                await anyio.sleep(self._poll_seconds)
            await self.note(path.name, "predicted")
            for command in _COMMANDS:
                query = f"/v3/studies/{uid}?inference_command={command}"
                async with self._session.get(self._url + query) as reply:
                    reply.raise_for_status()
                    await self.keep(uid, command, await reply.read())
                prediction = await self._json(f"/v3/{command}/{uid}")
                await self.keep(uid, command, json.dumps(prediction).encode())
            await self.note(path.name, "ended")

    async def note(self, study: str, state: str) -> None:
        """A study comes into a state."""

    async def keep(self, uid: str, command: str, content: bytes) -> None:
        """A result came."""

    async def _post(self, content: bytes) -> str:
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = head + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        headers = {"Content-Type": kind}
        async with self._session.post(
            f"{self._url}/v3/studies", data=body, headers=headers
        ) as reply:
            reply.raise_for_status()
            return str((await reply.json())["StudyInstanceUID"])

    async def _json(self, path: str) -> Any:
        async with self._session.get(self._url + path) as reply:
            reply.raise_for_status()
            return await reply.json()


class _ByHandWithFiles(_ByHand):
    """The same with a ledger and with files, each brought to the disk: what a user would write."""

    output: Path
    ledger: sqlite3.Connection
    lock: threading.Lock

    async def note(self, study: str, state: str) -> None:
        """A commit of its own."""
        await anyio.to_thread.run_sync(self._commit, study, state)

    async def keep(self, uid: str, command: str, content: bytes) -> None:
        """A file of each part, whole or not there."""
        parts = content.split(f"--{_BOUNDARY}".encode())[1:-1] or [content]
        for number, part in enumerate(parts):
            await anyio.to_thread.run_sync(self._write, uid, f"{command}-{number}", part)

    def _commit(self, study: str, state: str) -> None:
        with self.lock:
            self.ledger.execute("INSERT INTO transition VALUES (?, ?)", (study, state))

    def _write(self, uid: str, name: str, content: bytes) -> None:
        folder = self.output / uid
        folder.mkdir(mode=0o700, exist_ok=True)
        partial_file = folder / f"{name}.partial"
        with partial_file.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial_file.rename(folder / name)


async def _by_hand_with_files(url: str, folder: Path, output: Path) -> None:
    ledger = sqlite3.connect(output / "ledger", isolation_level=None, check_same_thread=False)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("PRAGMA synchronous = FULL")
    ledger.execute("CREATE TABLE transition (study, state)")
    connector = aiohttp.TCPConnector(limit=64)
    headers = {"x-goog-meta-owner": _KEY}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        by_hand = _ByHandWithFiles(session, url, anyio.Semaphore(64), 0.0)
        by_hand.output, by_hand.ledger, by_hand.lock = output, ledger, threading.Lock()
        async with anyio.create_task_group() as group:
            for path in sorted(folder.rglob("*.dcm")):
                group.start_soon(by_hand.study, path)
    ledger.close()


async def _by_hand(url: str, folder: Path, whole: int, poll_seconds: float) -> None:
    paths = sorted(folder.rglob("*.dcm"))
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(
        connector=connector, headers={"x-goog-meta-owner": _KEY}
    ) as session:
        by_hand = _ByHand(session, url, anyio.Semaphore(whole), poll_seconds)
        async with anyio.create_task_group() as group:
            for path in paths:
                group.start_soon(by_hand.study, path)


async def _process(url: str, folder: Path, output: Path, poll_rate: float = 200.0) -> None:
    from milvue_async import MilvueClient, RunLimits, process_directory  # noqa: PLC0415  not by hand

    limits = RunLimits(poll_rate=poll_rate)
    async with MilvueClient(url, _KEY, max_uploads=_UPLOADS) as client:
        summary = await process_directory(client, folder, output, limits=limits)
    if not summary.is_complete:
        sys.exit(f"{summary.outcomes}")


async def _wait(url: str, folder: Path, output: Path) -> None:
    """Until all studies wait; then resident memory beyond that of the open client."""
    from milvue_async import MilvueClient  # noqa: PLC0415  the same
    from milvue_async.batch.events import StageChanged  # noqa: PLC0415  the same
    from milvue_async.batch.pipeline import process_directory  # noqa: PLC0415  the same

    studies = sum(1 for _ in folder.rglob("*.dcm"))
    waiting = 0
    stop = anyio.Event()

    def count(event: object) -> None:
        nonlocal waiting
        waiting += isinstance(event, StageChanged) and event.stage == "wait"
        if waiting == studies:
            stop.set()

    async with MilvueClient(url, _KEY, max_uploads=_UPLOADS) as client:
        before = _resident()
        async with anyio.create_task_group() as group:
            group.start_soon(_sample, stop, before, studies)
            await process_directory(client, folder, output, on_event=count, stop=stop)


async def _sample(stop: anyio.Event, before: int, studies: int) -> None:
    await stop.wait()
    after = _resident()
    print(json.dumps({"before": before, "after": after, "each": (after - before) / studies}))


def _resident() -> int:
    """Bytes, by proc(5)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


_CONTENDERS: dict[str, Callable[[str, Path, Path], Awaitable[None]]] = {
    "process_directory": _process,
    # By hand nobody keeps under a rate either.
    "process_directory, any rate": partial(_process, poll_rate=2000.0),
    "semaphore over the whole study": lambda url, folder, _: _by_hand(url, folder, _UPLOADS, 1.0),
    "semaphore over the upload": lambda url, folder, _: _by_hand(url, folder, 100_000, 1.0),
    "bare aiohttp": lambda url, folder, _: _by_hand(url, folder, 64, 0.0),
    "aiohttp with ledger and files": _by_hand_with_files,
    "waiting": _wait,
}


def _contend(name: str, folder: Path, *options: str) -> tuple[dict[str, Any], Any]:
    """Run a contender in a process of its own; its figures, and those of the server."""
    with _server(*options) as url, tempfile.TemporaryDirectory(dir=folder.parent) as output:
        command = [sys.executable, "-m", "benchmarks.bulk", "contender", name, url, str(folder)]
        done = subprocess.run([*command, output], check=True, stdout=subprocess.PIPE)  # noqa: S603  ours
        figures = json.loads(done.stdout.splitlines()[-1])
        server = anyio.run(_server_figures, url)
    return figures, server


async def _server_figures(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/figures") as reply:
        return await reply.json()


def _queue(folder: Path, studies: int, rounds: int) -> None:
    _make_studies(folder, studies)
    options = ("--slots", "40", "--service", "1.5", "4.5", "--round-trip", "0.01")
    names = ("process_directory", "semaphore over the upload", "semaphore over the whole study")
    print(f"{'':32} makespan  of it the slots'  done to seen  polls")
    for seed in range(rounds):
        for name in names if seed == 0 else names[:2]:
            figures, server = _contend(name, folder, *options, "--seed", str(seed))
            known = server["studies"].values()
            ideal = server["work"] / 40
            first = min(study["submitted_at"] for study in known)
            slots = max(study["done_at"] for study in known) - first
            seen = mean(study["seen_at"] - study["done_at"] for study in known)
            polls = mean(study["polls"] for study in known)
            assert all(study["submissions"] == 1 for study in known)  # noqa: S101  or it is void
            print(
                f"{name:32} {figures['seconds'] / ideal:6.3f} x {slots / ideal:14.3f} x"
                f" {seen:10.2f} s {polls:6.1f}"
            )


def _small(folder: Path, studies: int, rounds: int) -> None:
    _make_studies(folder, studies)
    for _ in range(rounds):
        rates = {}
        for name in (
            "process_directory, any rate",
            "aiohttp with ledger and files",
            "bare aiohttp",
        ):
            figures, _ = _contend(name, folder)
            rates[name] = studies / figures["seconds"]
            cpu = figures["cpu_seconds"] / studies * 1e3
            print(f"{name:30} {rates[name]:7.1f} studies/s, {cpu:5.1f} ms of processor each")
        ours, kept, bare = rates.values()
        print(f"{'':30} {ours / kept:7.2f} x and {ours / bare:.2f} x")


def _waiting(folder: Path, studies: int, _: int) -> None:
    _make_studies(folder, studies)
    figures, _ = _contend("waiting", folder, "--service", "100000", "100000")
    print(f"{studies} studies waiting: {figures['each'] / 1e3:.2f} KB each")
    print(
        f"  resident before {figures['before'] / 1e6:.1f} MB, then {figures['after'] / 1e6:.1f} MB"
    )


def _contender(name: str, url: str, folder: str, output: str) -> None:
    import milvue_async.batch.pipeline  # noqa: F401, PLC0415  a service has imported it long ago

    started = time.monotonic()
    anyio.run(_CONTENDERS[name], url, Path(folder), Path(output))
    used = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    if name != "waiting":
        figures = {
            "seconds": time.monotonic() - started,
            "cpu_seconds": used.ru_utime + used.ru_stime + children.ru_utime + children.ru_stime,
        }
        print(json.dumps(figures))


_BENCHMARKS = {"queue": (_queue, 300), "small": (_small, 2000), "waiting": (_waiting, 10_000)}


def main() -> None:
    """Run one of the benchmarks."""
    if sys.argv[1:2] == ["contender"]:
        _contender(*sys.argv[2:6])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=_BENCHMARKS)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    run, studies = _BENCHMARKS[given.benchmark]
    with tempfile.TemporaryDirectory(prefix="milvue-benchmark-") as name:
        run(Path(name) / "studies", given.studies or studies, given.rounds)


if __name__ == "__main__":
    main()
