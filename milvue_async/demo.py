"""The whole job without an account: real studies that pydicom carries, against the simulator."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from milvue_async.client import MilvueClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["demo_client", "demo_files"]

# Six studies: computed radiography first, then what else a simulated product can draw on.
_FILES = (
    "dicomdirtests/77654033/CR1/6154",
    "dicomdirtests/77654033/CR2/6247",
    "dicomdirtests/77654033/CR3/6278",
    "CT_small.dcm",
    "MR_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
)
_INFERENCE_SECONDS = 2.0


@asynccontextmanager
async def demo_files() -> AsyncIterator[Path]:
    """A temporary folder with copies of the studies."""
    folder = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp))
    try:
        await anyio.to_thread.run_sync(_copy, folder)
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(shutil.rmtree, folder)


def _copy(folder: Path) -> None:
    carried = resources.files("pydicom.data") / "test_files"
    for number, name in enumerate(_FILES):
        (folder / f"{number:02}.dcm").write_bytes((carried / name).read_bytes())


@asynccontextmanager
async def demo_client() -> AsyncIterator[MilvueClient]:
    """A client of a simulator on a free port, with a key made for the occasion."""
    from milvue_async.simulator import Simulator, SimulatorConfig  # noqa: PLC0415  an extra

    config = SimulatorConfig(inference_seconds=_INFERENCE_SECONDS)
    async with (
        Simulator(config) as simulator,
        MilvueClient(simulator.url, str(uuid.uuid4()), poll_interval=0.5) as client,
    ):
        yield client
