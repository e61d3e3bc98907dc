"""The other end of the bulk benchmarks: a queue of inference slots, and prepared results.

A process of its own, and as cheap as aiohttp allows. What it knows of each study (when it came,
when it ended, when a client first heard so, how often it was asked) is at ``/figures``.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import re
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

from aiohttp import web

from tests.dicom_files import instance

__all__ = ["Inference"]

_BOUNDARY = "benchmark-boundary"
_NUMBER = "1.2.826.0.1.3680043.10.511.9999999999"  # stands where a study's UID goes
# StudyInstanceUID (0020,000D) in explicit VR little endian: tag, VR, 16-bit length, value.
_STUDY_INSTANCE_UID = re.compile(rb"\x20\0\x0d\0UI..([0-9.]+)", re.DOTALL)


@dataclass(slots=True)
class Study:
    """What is known of one study; seconds by the server's clock."""

    submitted_at: float
    done_at: float
    seen_at: float | None = None
    polls: int = 0
    submissions: int = 1


class Inference:
    """The server.

    Args:
        slots: Studies inferred at a time; 0 for no end.
        service: Seconds that one takes, from and to.
        round_trip: Seconds before each answer.
        seed: What service times are drawn from.
    """

    def __init__(
        self, slots: int, service: tuple[float, float], round_trip: float, seed: int
    ) -> None:
        self._free = [0.0] * slots
        self._service = service
        self._round_trip = round_trip
        self._chance = random.Random(seed)
        self._studies: dict[str, Study] = {}
        self._work = 0.0
        self._results = {command: _results(command) for command in ("smarturgences", "smartxpert")}

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v3/studies", self.store)
        app.router.add_get("/v3/studies/{uid}/status", self.status)
        app.router.add_get("/v3/studies/{uid}", self.retrieve)
        app.router.add_get("/v3/{command}/{uid}", self.prediction)
        app.router.add_get("/figures", self.figures)
        return app

    async def store(self, request: web.Request) -> web.Response:
        """Take a study in; it waits for a slot."""
        found = _STUDY_INSTANCE_UID.search(await request.read())
        uid = found[1].decode() if found else ""
        known = self._studies.get(uid)
        if known is not None:
            known.submissions += 1
        else:
            self._studies[uid] = self._queued()
        return await self._json({"StudyInstanceUID": uid, "message": "received"})

    def _queued(self) -> Study:
        now, seconds = time.monotonic(), self._chance.uniform(*self._service)
        self._work += seconds
        if not self._free:
            return Study(now, now + seconds)
        done = max(now, heapq.heappop(self._free)) + seconds
        heapq.heappush(self._free, done)
        return Study(now, done)

    async def status(self, request: web.Request) -> web.Response:
        """The status, which is noted to have been asked for."""
        uid = request.match_info["uid"]
        study = self._studies.get(uid)
        if study is None:
            return web.json_response({"message": "unknown"}, status=404)
        study.polls += 1
        now = time.monotonic()
        is_done = now >= study.done_at
        if is_done and study.seen_at is None:
            study.seen_at = now
        status = "done" if is_done else "running"
        return await self._json({"StudyInstanceUID": uid, "status": status, "version": "1"})

    async def retrieve(self, request: web.Request) -> web.Response:
        """Prepared DICOM results, with the study's own UID in them."""
        body = self._results[request.query["inference_command"]]
        uid = request.match_info["uid"].encode()
        if len(uid) == len(_NUMBER):
            body = body.replace(_NUMBER.encode(), uid)
        await asyncio.sleep(self._round_trip)
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        return web.Response(body=body, headers={"Content-Type": kind})

    async def prediction(self, request: web.Request) -> web.Response:
        """A JSON result with one image in it."""
        return await self._json(_prediction(**request.match_info))

    async def figures(self, _: web.Request) -> web.Response:
        """What is known of all studies."""
        studies = {uid: asdict(study) for uid, study in self._studies.items()}
        return web.json_response({"work": self._work, "studies": studies})

    async def _json(self, value: Any) -> web.Response:
        await asyncio.sleep(self._round_trip)
        return web.json_response(value)


def _results(command: str) -> bytes:
    """Two small results of a study called `_NUMBER`."""
    body = b""
    for number in (1, 2):
        dataset = instance(study_instance_uid=_NUMBER, number=number)
        dataset.SOPInstanceUID = f"{_NUMBER}.{len(command)}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PixelData = bytes(2 * 64 * 64)
        file = BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body += head + file.getvalue() + b"\r\n"
    return body + f"--{_BOUNDARY}--\r\n".encode()


def _prediction(command: str, uid: str) -> dict[str, Any]:
    image = {
        "SeriesInstanceUID": f"{uid}.1",
        "SOPInstanceUID": f"{uid}.1.1",
        "body_parts": [],
    }
    answer: dict[str, Any] = {"StudyInstanceUID": uid, "status": "done", "version": "1"}
    if command == "smartxpert":
        return answer | {"instances": [image | {"measures": []}]}
    flag = {"score": 0.1, "label": "normal"}
    instances = [image | {"findings": [], "bounding_boxes": []}]
    return answer | {"instances": instances, "flag": flag, "hl7": "", "findings": []}


async def _serve(server: Inference) -> None:
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed; the first line of output is the URL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--service", type=float, nargs=2, default=(0.0, 0.0))
    parser.add_argument("--round-trip", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(_serve(Inference(given.slots, given.service, given.round_trip, given.seed)))


if __name__ == "__main__":
    main()
