"""The object storage that signed URLs lead to: instances are put there, results got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from milvue_async.simulator.replies import CLIENT, Refusal, body_of

if TYPE_CHECKING:
    from pathlib import Path

    from milvue_async.simulator.bodies import Bodies
    from milvue_async.simulator.signing import Client, UrlSigner
    from milvue_async.simulator.state import State

__all__ = ["Blobs"]


class Blobs:
    """Objects by signed URL.

    Args:
        state: The studies.
        bodies: Where instances are received, and results lie.
        signer: What makes and checks signed URLs.
    """

    def __init__(self, state: State, bodies: Bodies, signer: UrlSigner) -> None:
        self._state = state
        self._bodies = bodies
        self._signer = signer

    def table(self) -> list[web.RouteDef]:
        """The two routes."""
        return [
            web.put("/blobs/{name}", self.put),
            web.get("/blobs/{name}", self.get, allow_head=False),
        ]

    def upload_url(self, client: Client, study_instance_uid: str, sop_instance_uid: str) -> str:
        """Where a client may put an announced instance."""
        name = f"uploads/{study_instance_uid}/{sop_instance_uid}"
        return self._signer.sign("PUT", client, name)

    def result_url(self, client: Client, file: Path) -> str:
        """Where a client may get a result."""
        return self._signer.sign("GET", client, file.relative_to(self._bodies.root).as_posix())

    async def put(self, request: web.Request) -> web.Response:
        """Take in an announced instance."""
        _, study_instance_uid, sop_instance_uid = self._signed_name(request).split("/")
        instance = await self._bodies.receive_instance(
            body_of(request),
            study_instance_uid=study_instance_uid,
            sop_instance_uid=sop_instance_uid,
        )
        self._state.receive(instance)
        return web.Response(status=200)

    async def get(self, request: web.Request) -> web.FileResponse:
        """Give out a result."""
        file = self._bodies.root / self._signed_name(request)
        return web.FileResponse(file, headers={"Content-Type": "application/dicom"})

    def _signed_name(self, request: web.Request) -> str:
        """The object's name; as it is signed, it is one that `upload_url` or `result_url` made."""
        url = request.rel_url
        if not self._signer.allows(request.method, url.raw_path, url.query, request[CLIENT]):
            raise Refusal(403, "The signed URL is expired, changed, or of another API key")
        return request.match_info["name"]
