"""Download with this package's client: results appear in a folder of their study when whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from benchmarks import study_instance_uid
from benchmarks.contenders.contest import CONCURRENCY, contend
from milvue_async import MilvueClient

if TYPE_CHECKING:
    from pathlib import Path


async def _download(url: str, studies: list[list[Path]], output: Path) -> None:
    async with MilvueClient(url, "key", max_downloads=CONCURRENCY) as client:

        async def get(number: int) -> None:
            folder = output / str(number)
            await client.download_results(study_instance_uid(0), "smarturgences", folder)

        async with anyio.create_task_group() as group:
            for number in range(len(studies)):
                group.start_soon(get, number)


if __name__ == "__main__":
    contend(lambda *arguments: anyio.run(_download, *arguments))
