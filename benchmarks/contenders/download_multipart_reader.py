"""Download with aiohttp alone: its ``MultipartReader`` writing parts to files, unchecked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import anyio
import anyio.to_thread

from benchmarks import study_instance_uid
from benchmarks.contenders.contest import CONCURRENCY, contend

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 18


async def _get(session: aiohttp.ClientSession, url: str, folder: Path) -> None:
    await anyio.to_thread.run_sync(folder.mkdir)
    async with session.get(url) as response:
        response.raise_for_status()
        reader = aiohttp.MultipartReader.from_response(response)
        number = 0
        while isinstance(part := await reader.next(), aiohttp.BodyPartReader):
            number += 1
            # Written in the event loop: that blocks it, and is the faster way here.
            with await anyio.to_thread.run_sync((folder / f"{number}.dcm").open, "wb") as file:
                while chunk := await part.read_chunk(_CHUNK):
                    file.write(chunk)


async def _download(url: str, studies: list[list[Path]], output: Path) -> None:
    slots = anyio.Semaphore(CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=_CHUNK) as session:

        async def get(number: int) -> None:
            async with slots:
                target = f"{url}/v3/studies/{study_instance_uid(0)}"
                await _get(session, target, output / str(number))

        async with anyio.create_task_group() as group:
            for number in range(len(studies)):
                group.start_soon(get, number)


if __name__ == "__main__":
    contend(lambda *arguments: anyio.run(_download, *arguments))
