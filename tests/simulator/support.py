"""A plain HTTP client for the simulator, a clock to turn by hand, and multiparts to send."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pydicom
from requests_toolbelt import MultipartDecoder  # type: ignore[import-untyped]
from yarl import URL

from tests.simulator import contract

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import aiohttp

    from milvue_async.simulator import Simulator

KEY = "22209633-26ea-4b35-a197-e55c375dc36f"
OTHER_KEY = "5b0bc9a1-6a3c-4b7c-8f21-0d9f6b1f1c55"
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*, application/json'


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers["Content-Type"]

    def json(self) -> Any:
        assert self.content_type == "application/json", self.content_type
        return json.loads(self.body)

    def parts(self) -> list[tuple[str, bytes]]:
        """Content-Type and content of each part, by a decoder that is not ours."""
        decoder = MultipartDecoder(self.body, self.content_type)
        return [(part.headers[b"Content-Type"].decode(), part.content) for part in decoder.parts]

    def datasets(self) -> list[pydicom.Dataset]:
        assert {kind for kind, _ in self.parts()} <= {"application/dicom"}
        return [pydicom.dcmread(BytesIO(content)) for _, content in self.parts()]


@dataclass(frozen=True)
class Api:
    """Requests with a key, each answer of which is held against the OpenAPI documents.

    Attributes:
        session: Of aiohttp.
        simulator: The server.
        headers: Sent with each request.
        checked: Whether the answers are so held; those that a fault has spoilt may not fit.
    """

    session: aiohttp.ClientSession
    simulator: Simulator
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-goog-meta-owner": KEY})
    checked: bool = True

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """One exchange; ``path`` may be a whole signed URL."""
        whole = path if "://" in path else f"{self.simulator.url}{path}"
        url = URL(whole, encoded=True)
        async with self.session.request(
            method,
            url.with_query(query) if query else url,
            data=None if body is None else BytesIO(body),
            headers={**self.headers, **(headers or {})},
            allow_redirects=False,
        ) as reply:
            answer = Answer(reply.status, reply.headers.copy(), await reply.read())
        kind = answer.headers.get("Content-Type", "")
        if self.checked:
            contract.check(method, url.raw_path, answer.status, kind, answer.body)
        return answer

    async def get(self, path: str, *, accept: str = "*/*", **query: str) -> Answer:
        return await self.request("GET", path, body=None, headers={"Accept": accept}, **query)

    async def post_study(self, files: Iterable[Path | bytes], **query: str) -> Answer:
        return await self.post_body(multipart(files), **query)

    async def post_body(
        self,
        body: bytes,
        content_type: str = 'multipart/related; type="application/dicom"; boundary=frontier',
        **query: str,
    ) -> Answer:
        headers = {"Content-Type": content_type}
        return await self.request("POST", "/v3/studies", body=body, headers=headers, **query)

    async def submit(self, files: Iterable[Path | bytes]) -> str:
        """Post a study that must be accepted; its StudyInstanceUID."""
        answer = await self.post_study(files)
        assert answer.status == 200, answer.body
        return str(answer.json()["StudyInstanceUID"])

    async def status(self, study_instance_uid: str) -> str:
        answer = await self.get(f"/v3/studies/{study_instance_uid}/status")
        assert answer.status == 200, answer.body
        return str(answer.json()["status"])

    async def results(
        self, study_instance_uid: str, command: str = "smarturgences", **query: str
    ) -> Answer:
        path = f"/v3/studies/{study_instance_uid}"
        return await self.get(path, accept=ACCEPT, inference_command=command, **query)


def multipart(files: Iterable[Path | bytes], boundary: str = "frontier") -> bytes:
    """DICOM files as RFC 2387 has them."""
    body = b""
    for file in files:
        content = file if isinstance(file, bytes) else file.read_bytes()
        body += f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()
