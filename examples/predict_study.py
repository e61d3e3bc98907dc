"""Predict one study: post it once, wait, and get the results of both commands.

MILVUE_API_URL= MILVUE_API_TOKEN= python examples/predict_study.py <dcm1> <dcm2>
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import milvue_async

if TYPE_CHECKING:
    import pydicom

API_URL = os.environ.get("MILVUE_API_URL", "")
API_TOKEN = os.environ.get("MILVUE_API_TOKEN", "")


async def main(paths: list[str]) -> None:
    """Predict the study that the files at ``paths`` belong to, and print its results."""
    async with milvue_async.MilvueClient(API_URL, API_TOKEN) as client:
        # All files must be of one study; whatever cannot be sent is refused before anything is.
        posted = await client.post_study(paths)
        uid = posted.StudyInstanceUID

        # Raises if the prediction fails, or takes longer than this.
        await client.wait_done(uid, timeout=180)

        smarturgences_dicoms = await client.get_results(uid, "smarturgences")
        smarturgences_json = await client.get_smarturgences(uid)
        smartxpert_dicoms = await client.get_results(uid, "smartxpert")
        smartxpert_json = await client.get_smartxpert(uid)

    show("smarturgences", smarturgences_dicoms, smarturgences_json)
    show("smartxpert", smartxpert_dicoms, smartxpert_json)


def show(
    command: str,
    dicoms: list[pydicom.Dataset],
    prediction: milvue_async.SmarturgencesV3 | milvue_async.SmartxpertV3,
) -> None:
    """Print what one command gave."""
    print(f"{command} dicoms:")
    for dicom in dicoms:
        print(f"  {dicom.Modality} {dicom.SOPInstanceUID}")
    print(f"{command} json:")
    print(prediction.to_json())


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1:]))
    except milvue_async.MilvueError as error:
        sys.exit(f"predict_study: {error}")
