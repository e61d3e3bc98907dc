"""How many studies a simulator takes through the whole job, and what memory that costs it.

Run from the root of the checkout: ``python -m benchmarks.simulator_load``. The simulator is a
process of its own; the client is plain aiohttp, so that nothing but the simulator is measured. No
two studies have the same pixels. Enough of them are under way at once, and inference is short
enough, that neither is what ends the run.
Memory is read from ``/proc``, so that this runs on Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
from pydicom.filebase import DicomBytesIO

from tests.dicom_files import instance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream

_KEY = "22209633-26ea-4b35-a197-e55c375dc36f"
_COMMANDS = ("smarturgences", "smartxpert")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*, application/json'
_BOUNDARY = "benchmark-boundary"
_NUMBER = "9999999999"  # stands in the template where a study's number goes
_FIRST = 1_000_000_000  # as long, and without the leading zeros that a UID may not have
_POLL_SECONDS = 0.5
_SAMPLES = 8


@dataclass
class Load:
    """One run.

    Attributes:
        url: The simulator's.
        pid: Its process.
        template: A request body of study `_NUMBER`.
        with_results: Whether results are got, too.
        ended: Studies that went through.
        requests: Requests that were answered as they should be.
        problems: What was not.
        memory: Resident memory of the simulator in MB, now and then.
    """

    url: str
    pid: int
    template: bytes
    with_results: bool
    ended: int = 0
    requests: int = 0
    problems: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    async def work(
        self, session: aiohttp.ClientSession, numbers: MemoryObjectReceiveStream[int]
    ) -> None:
        """Take studies through, one after the other."""
        async with numbers:
            async for number in numbers:
                try:
                    await self._study(session, number)
                except (aiohttp.ClientError, ValueError) as error:
                    self.problems.append(f"study {number}: {error!r}")
                self.ended += 1

    async def sample(self, studies: int) -> None:
        """Note the simulator's memory each time another part of the studies has ended."""
        while self.ended < studies:
            if self.ended >= studies * len(self.memory) / _SAMPLES:
                self.memory.append(_megabytes(self.pid, "VmRSS"))
            await anyio.sleep(0.05)
        self.memory.append(_megabytes(self.pid, "VmRSS"))

    async def _study(self, session: aiohttp.ClientSession, number: int) -> None:
        body = self.template.replace(_NUMBER.encode(), str(_FIRST + number).encode())
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        url = f"{self.url}/v3/studies"
        async with session.post(url, data=BytesIO(body), headers={"Content-Type": kind}) as reply:
            uid = (await self._json(reply))["StudyInstanceUID"]
        path = f"/v3/studies/{uid}/status"
        while (await self._get(session, path))["status"] == "running":  # noqa: ASYNC110  a poll
            await anyio.sleep(_POLL_SECONDS)
        for command in _COMMANDS if self.with_results else ():
            if (await self._get(session, f"/v3/{command}/{uid}"))["status"] != "done":
                raise ValueError(command)
            await self._get_dicom(session, f"/v3/studies/{uid}?inference_command={command}")

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Any:
        async with session.get(f"{self.url}{path}") as reply:
            return await self._json(reply)

    async def _get_dicom(self, session: aiohttp.ClientSession, path: str) -> None:
        async with session.get(f"{self.url}{path}", headers={"Accept": _ACCEPT}) as reply:
            reply.raise_for_status()
            if not (await reply.read()).endswith(b"--\r\n"):
                raise ValueError(path)
        self.requests += 1

    async def _json(self, reply: aiohttp.ClientResponse) -> Any:
        reply.raise_for_status()
        self.requests += 1
        return await reply.json()


def main() -> None:
    """Read the size of the run, and run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--mebibytes", type=int, default=0, help="of each; 0: 64 x 64 pixels")
    parser.add_argument("--at-once", type=int, default=128)
    parser.add_argument("--service", default="0.5", help="seconds of inference, as of simulate")
    parser.add_argument("--uploads-only", action="store_true", help="get no results")
    parser.add_argument("options", nargs="*", help="of the simulator, after --")
    arguments = parser.parse_args()
    options = ["--service", arguments.service, *arguments.options]
    with _simulator(options) as (url, pid):
        template = _template(arguments.instances, arguments.mebibytes)
        load = Load(url, pid, template, not arguments.uploads_only)
        started = time.monotonic()
        account = asyncio.run(_run(load, arguments.studies, arguments.at_once))
        _print(load, account, time.monotonic() - started)
    _print_processor_time(load.ended)
    if load.problems:
        sys.exit("\n".join(load.problems[:10]))


@contextmanager
def _simulator(options: list[str]) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "milvue_async", "simulate", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  ours
        try:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            words = process.stdout.readline().split()
            yield next(word for word in words if word.startswith("http://")), process.pid
        finally:
            process.terminate()
            process.wait()


def _template(instances: int, mebibytes: int) -> bytes:
    rows, columns = (512 * mebibytes, 1024) if mebibytes else (64, 64)
    body = b""
    for number in range(1, instances + 1):
        study = f"1.2.826.0.1.3680043.10.511.{_NUMBER}"
        dataset = instance(study_instance_uid=study, number=number, rows=rows, columns=columns)
        dataset.SOPInstanceUID = f"{study}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        pixels = bytes(range(0, 256, 2)) * (rows * columns // 64)
        dataset.PixelData = _NUMBER.encode() + pixels[len(_NUMBER) :]  # of each study others
        buffer = DicomBytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n"
        body += head.encode() + buffer.getvalue() + b"\r\n"
    return body + f"--{_BOUNDARY}--\r\n".encode()


async def _run(load: Load, studies: int, at_once: int) -> Any:
    """Take the studies through; what the simulator says that it saw."""
    send, receive = anyio.create_memory_object_stream[int](studies)
    for number in range(studies):
        send.send_nowait(number)
    send.close()
    connector = aiohttp.TCPConnector(limit=at_once)
    headers = {"x-goog-meta-owner": _KEY}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.sample, studies)
            for _ in range(at_once):
                tasks.start_soon(load.work, session, receive.clone())
            receive.close()
        async with session.get(f"{load.url}/control/account") as reply:
            return (await reply.json())["studies"]


def _print(load: Load, account: dict[str, Any], seconds: float) -> None:
    sent = len(load.template) * load.ended / 1e6
    once = sum(study["submissions"] == 1 for study in account.values())
    delivered = sum(
        study["deliveries"] == {command: {"dicomweb": 1} for command in _COMMANDS}
        for study in account.values()
    )
    print(f"{load.ended} studies of {len(load.template) / 1e6:.2f} MB in {seconds:.1f} s:")
    print(f"  {load.ended / seconds:.1f} studies/s, {sent / seconds:.1f} MB/s up")
    print(f"  {load.requests} requests, {load.requests / seconds:.0f} a second")
    print(f"  {len(load.problems)} errors")
    print(f"  account: {len(account)} studies, {once} submitted once, {delivered} delivered once")
    print(f"  memory: {' '.join(f'{each:.0f}' for each in load.memory)} MB")
    print(f"  peak: {_megabytes(load.pid, 'VmHWM'):.0f} MB")


def _print_processor_time(studies: int) -> None:
    for name, who in (("client", resource.RUSAGE_SELF), ("simulator", resource.RUSAGE_CHILDREN)):
        used = resource.getrusage(who)
        spent = (used.ru_utime + used.ru_stime) / studies * 1000
        print(f"  processor time of the {name}: {spent:.1f} ms a study")


def _megabytes(pid: int, name: str) -> float:
    """A figure of proc(5) in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
