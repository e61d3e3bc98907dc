"""Azurite, Microsoft's emulator of Azure Blob Storage, and signed URLs made by Azure's own SDK."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

from tests.programs import Running, require, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from azure.storage.blob import BlobProperties, ContainerClient

__all__ = ["Azurite", "run_azurite"]

_ACCOUNT = "devstoreaccount1"
# The key of Azurite's documentation, the same on every machine: it protects nothing.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_CONTAINER = "studies"
_LISTENS = "Azurite Blob service successfully listens on "


@dataclass(frozen=True)
class Azurite:
    """A started Azurite.

    Attributes:
        container: Azure's own client of the one container there is.
        program: Its process; each request is a line of what it says.
    """

    container: ContainerClient
    program: Running

    def signed_url(self, name: str, permission: str, seconds: float) -> str:
        """A URL of a blob, every reserved character of its name percent-encoded.

        Args:
            name: The blob's.
            permission: ``r`` to get it, ``cw`` to put it.
            seconds: How long it is valid; negative for one that has expired.
        """
        now = dt.datetime.now(dt.UTC)
        query = generate_blob_sas(
            _ACCOUNT,
            _CONTAINER,
            name,
            account_key=_KEY,
            permission=BlobSasPermissions.from_string(permission),
            start=now - dt.timedelta(days=1),
            expiry=now + dt.timedelta(seconds=seconds),
        )
        return f"{self.container.url}/{quote(name, safe='')}?{query}"

    def content(self, name: str) -> bytes:
        """The bytes of a blob."""
        return self.container.download_blob(name).readall()

    def properties(self, name: str) -> BlobProperties:
        """What the storage knows of a blob."""
        return self.container.get_blob_client(name).get_blob_properties()

    def names(self) -> set[str]:
        """The blobs there are."""
        return set(self.container.list_blob_names())


@contextlib.contextmanager
def run_azurite(folder: Path) -> Iterator[Azurite]:
    """Run an Azurite that keeps its blobs in memory; skips where it is not installed."""
    program = require("azurite-blob", install="npm install --global azurite")
    options = ("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
    command = (program, "--blobPort", "0", *options)
    with running(command, folder=folder, ready=f"{_LISTENS}http://") as started:
        listens = re.search(rf"{_LISTENS}(http://127\.0\.0\.1:\d+)", started.said())
        assert listens is not None
        service = BlobServiceClient(f"{listens[1]}/{_ACCOUNT}", credential=_KEY)
        with service:
            yield Azurite(service.create_container(_CONTAINER), started)
