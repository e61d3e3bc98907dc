"""Upload with aiohttp alone: its ``MultipartWriter`` over open files, nothing checked."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import aiohttp
import anyio

from benchmarks.contenders.contest import CONCURRENCY, contend

if TYPE_CHECKING:
    from pathlib import Path


async def _post(session: aiohttp.ClientSession, url: str, study: list[Path]) -> None:
    with ExitStack() as files, aiohttp.MultipartWriter("related") as writer:
        for path in study:
            writer.append(
                files.enter_context(path.open("rb")), {"Content-Type": "application/dicom"}
            )
        async with session.post(f"{url}/v3/studies", data=writer) as response:
            response.raise_for_status()
            await response.json()


async def _upload(url: str, studies: list[list[Path]], _: Path) -> None:
    slots = anyio.Semaphore(CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def post(study: list[Path]) -> None:
            async with slots:
                await _post(session, url, study)

        async with anyio.create_task_group() as group:
            for study in studies:
                group.start_soon(post, study)


if __name__ == "__main__":
    contend(lambda *arguments: anyio.run(_upload, *arguments))
