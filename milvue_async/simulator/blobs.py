"""The object storage that signed URLs lead to: instances are put there, results got."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from milvue_async.simulator.exchanges import Route
from milvue_async.simulator.replies import CLIENT, DICOM, Answer, Refusal, body_of

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

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

    def table(self) -> list[Route]:
        """The two routes."""
        return [
            Route("PUT", "/blobs/{name}", self.put_object),
            Route("GET", "/blobs/{name}", self.get_object),
        ]

    def upload_url(self, client: Client, study_instance_uid: str, sop_instance_uid: str) -> str:
        """Where a client may put an announced instance."""
        name = f"uploads/{study_instance_uid}/{sop_instance_uid}"
        return self._signer.sign("PUT", client, name)

    def result_url(self, client: Client, file: Path) -> str:
        """Where a client may get a result."""
        return self._signer.sign("GET", client, file.relative_to(self._bodies.root).as_posix())

    async def put_object(self, request: web.Request) -> Answer:
        """Take in an announced instance."""
        _, study_instance_uid, sop_instance_uid = self._signed_name(request).split("/")
        instance = await self._bodies.receive_instance(
            body_of(request),
            study_instance_uid=study_instance_uid,
            sop_instance_uid=sop_instance_uid,
        )
        if not self._state.receive(instance):
            raise Refusal(404, "The study is not announced any more")
        return Answer(content=b"", content_type="")

    async def get_object(self, request: web.Request) -> Answer:
        """Give out a result."""
        file = self._bodies.root / self._signed_name(request)
        delivered = partial(self._state.delivered_object, file.parent.name, file.name)
        return Answer(content=file, content_type=DICOM, delivered=delivered)

    def _signed_name(self, request: web.Request) -> str:
        """The object's name; as it is signed, it is one that `upload_url` or `result_url` made."""
        url = request.rel_url
        if not self._signer.allows(request.method, url.raw_path, url.query, request[CLIENT]):
            raise Refusal(403, "The signed URL is expired, changed, or of another API key")
        return request.match_info["name"]
