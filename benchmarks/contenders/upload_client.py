"""Upload with this package's client, as a service would: every study at once, as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from benchmarks.contenders.contest import CONCURRENCY, contend
from milvue_async import MilvueClient

if TYPE_CHECKING:
    from pathlib import Path


async def _upload(url: str, studies: list[list[Path]], _: Path) -> None:
    async with MilvueClient(url, "key", max_uploads=CONCURRENCY) as client:

        async def post(study: list[Path]) -> None:
            await client.post_study(study)

        async with anyio.create_task_group() as group:
            for study in studies:
                group.start_soon(post, study)


if __name__ == "__main__":
    contend(lambda *arguments: anyio.run(_upload, *arguments))
