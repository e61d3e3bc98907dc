"""Orthanc with its DICOMweb plugin, which speaks STOW and WADO where Milvue's API has its own."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.programs import Running, free_port, require, require_file, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import aiohttp

__all__ = ["Orthanc", "OrthancRest", "run_orthanc"]

_INSTALL = "Debian: orthanc and orthanc-dicomweb"
_PLUGIN = "libOrthancDicomWeb.so"


@dataclass(frozen=True)
class Orthanc:
    """A started Orthanc.

    Attributes:
        url: Its root; DICOMweb stands below ``/v3/``.
        program: Its process.
    """

    url: str
    program: Running


@contextlib.contextmanager
def run_orthanc(folder: Path, **configuration: Any) -> Iterator[Orthanc]:
    """Run an Orthanc whose database is in ``folder``; skips where it is not installed.

    Args:
        folder: An empty one.
        **configuration: Entries of its configuration file besides those a test always needs.
    """
    program = require("Orthanc", install=_INSTALL)
    plugin = require_file(
        f"/usr/share/orthanc/plugins/{_PLUGIN}", f"/usr/lib/orthanc/{_PLUGIN}", install=_INSTALL
    )
    port = free_port()
    configured = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/v3/"},
        **configuration,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configured))
    with running([program, path], folder=folder, ready="Orthanc has started") as started:
        yield Orthanc(f"http://127.0.0.1:{port}", started)


@dataclass(frozen=True)
class OrthancRest:
    """Orthanc's own REST API, which shows what STOW left behind."""

    session: aiohttp.ClientSession
    url: str

    async def get(self, path: str) -> bytes:
        async with self.session.get(self.url + path) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def instance_ids(self) -> list[str]:
        ids: list[str] = json.loads(await self.get("/instances"))
        return ids

    async def files(self) -> list[bytes]:
        """The stored files, in no particular order."""
        return [await self.get(f"/instances/{name}/file") for name in await self.instance_ids()]

    async def clear(self) -> None:
        """Delete all instances."""
        for name in await self.instance_ids():
            async with self.session.delete(f"{self.url}/instances/{name}") as answer:
                answer.raise_for_status()
