"""A process of its own that posts a study and downloads it again, and says what memory it took.

Arguments: the root of a DICOMweb server, a folder for results, the study's files. Prints two
numbers: bytes at most resident before the study was touched, and in the end.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anyio

from milvue_async import MilvueClient, load_study


def peak_bytes() -> int:
    """The most memory that was ever resident.

    Not ``getrusage``: Linux begins its ``ru_maxrss`` with that of the process that started this
    one, here a test run of any size (getrusage(2) on what execve preserves).
    """
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    if peak is None:
        raise SystemExit("no VmHWM in /proc/self/status")
    return int(peak[1]) * 1024


async def main(*arguments: str) -> None:
    api_url, folder, *files = arguments
    async with MilvueClient(
        api_url,
        "22209633-26ea-4b35-a197-e55c375dc36f",
        store_accept="application/dicom+json",
        retrieve_accept='multipart/related; type="application/dicom"; transfer-syntax=*',
    ) as client:
        before = peak_bytes()
        study = await load_study(files)
        await client.post_study(study)
        await client.download_results(study.study_instance_uid, "smarturgences", folder)
        print(before, peak_bytes())  # noqa: T201  what the test reads


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
