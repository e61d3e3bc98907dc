"""A client between two servers: the API, which misbehaves, and a host that must never be asked."""

from __future__ import annotations

import asyncio
import json
import pickle
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from milvue_async import MilvueClient, MilvueError
from milvue_async import exchange as exchange_module
from milvue_async import transport as transport_module
from tests.faults import scripts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from types import FrameType

    from tests.faults.server import Exchange, FaultServer, Script

__all__ = ["KEY", "SIGNATURE", "FakeClock", "Scene", "assert_reveals_nothing"]

KEY = "3f2b8c52-8a1b-4a54-9d0e-6b1f7c9e4d21"
SIGNATURE = "c2lnbmF0dXJl"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
OTHER_UID = "1.2.826.0.1.3680043.8.498.2"
ATTEMPTS = 3
_OWN_MODULES = {transport_module.__name__, exchange_module.__name__}
_TURNS = 20
_RAW = (bytes, bytearray, memoryview)


@dataclass
class FakeClock:
    """Time that passes when somebody sleeps, and then at once; chance that always says the same."""

    now: float = 1000.0
    chance: float = 0.5
    sleeps: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()

    def random(self) -> float:
        return self.chance


@dataclass
class Scene:
    """What one test has to do with.

    Attributes:
        api: The API, and the storage of its signed URLs.
        elsewhere: A host that no request may reach.
        clock: The client's.
        folder: Empty, for results.
        files: Those of one study of one instance.
        content: The bytes of that instance.
    """

    api: FaultServer
    elsewhere: FaultServer
    clock: FakeClock
    folder: Path
    files: list[Path]
    content: bytes

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[MilvueClient]:
        """A client of the API; once it is closed, nothing of it may be left."""
        before = asyncio.all_tasks()
        settings: dict[str, Any] = {
            "retry_attempts": ATTEMPTS,
            "clock": self.clock,
            "trust_env": False,
        }
        settings |= options
        url = settings.pop("api_url", self.api.url)
        async with MilvueClient(url, KEY, **settings) as client:
            yield client
        await self._assert_nothing_is_left(before)

    async def _assert_nothing_is_left(self, before: set[asyncio.Task[Any]]) -> None:
        known = before | self.api.handlers | self.elsewhere.handlers
        for _ in range(_TURNS):
            # What was cancelled or cut off ends in the next turns of the loop.
            await anyio.lowlevel.checkpoint()
        assert asyncio.all_tasks() <= known | self.api.handlers, "a task of the client lives on"
        assert self.api.sockets_of_clients() == 0, "a connection of the client is open"
        await self.api.release()
        assert self.api.left_open == 0, "the server was not told that the client has gone"
        assert self.elsewhere.connections == 0, "the client went elsewhere"

    def signed_url(self, name: str) -> str:
        """A URL of the storage whose path and query must arrive as they are."""
        return f"{self.api.url}/blob/{name}%2Fone%40home?sig={SIGNATURE}%2F%40%3D&se=2030%2B1"

    def serve(self) -> None:
        """Let every route of the API work."""
        uid = STUDY_UID
        self.api.on("POST /v3/studies", self._store)
        self.api.on(f"GET /v3/studies/{uid}", self._retrieve)
        self.api.on(f"GET /v3/studies/{uid}/status", scripts.reply_json(status()))
        self.api.on(f"GET /v3/smarturgences/{uid}", scripts.reply_json(smarturgences()))
        self.api.on(f"GET /v3/smartxpert/{uid}", scripts.reply_json(smartxpert()))
        self.api.on(f"POST /v3/interesting/{uid}", scripts.answer(200, b"null"))
        self.api.on("PUT /blob/*", scripts.answer(201, b"", None))
        self.api.on("GET /blob/*", scripts.answer(200, self.content, "application/dicom"))

    def body(self, route: str) -> bytes:
        """The body of a good answer to a route, to be cut and bent."""
        values = {
            "store": stored(),
            "announce": self.announced(),
            "status": status(),
            "urls": self.retrievable(),
            "smarturgences": smarturgences(),
            "smartxpert": smartxpert(),
        }
        if route in values:
            return json.dumps(values[route]).encode()
        if route in {"put", "interesting"}:
            return b"null"
        return self.content if "signed" in route else scripts.parts(self.content)

    def announced(self, uid: str = STUDY_UID) -> dict[str, object]:
        """The answer to a pixel-less STOW request."""
        urls = {f"{STUDY_UID}.1.1": self.signed_url("in")}
        return {"StudyInstanceUID": uid, "signed_urls": urls}

    def retrievable(self, uid: str = STUDY_UID) -> dict[str, object]:
        """The answer that has a signed URL to get a result from."""
        return status(uid) | {"signed_urls": [self.signed_url("out")]}

    async def _store(self, exchange: Exchange) -> None:
        is_signed = "signed_url=true" in exchange.request.target
        await scripts.reply_json(self.announced() if is_signed else stored())(exchange)

    async def _retrieve(self, exchange: Exchange) -> None:
        is_signed = "signed_url=true" in exchange.request.target
        good: Script = scripts.multipart(scripts.parts(self.content))
        await (scripts.reply_json(self.retrievable()) if is_signed else good)(exchange)


def stored(uid: str = STUDY_UID) -> dict[str, object]:
    return {"StudyInstanceUID": uid, "message": "received"}


def status(uid: str = STUDY_UID, value: str = "done") -> dict[str, object]:
    return {"StudyInstanceUID": uid, "status": value, "version": "1"}


def smarturgences(uid: str = STUDY_UID) -> dict[str, object]:
    flag = {"score": 0.1, "label": "normal"}
    return status(uid) | {"flag": flag, "hl7": "MSH|", "findings": [], "instances": []}


def smartxpert(uid: str = STUDY_UID) -> dict[str, object]:
    return status(uid) | {"instances": []}


def assert_reveals_nothing(error: BaseException) -> None:
    """No text of an error, of those it came from, or of its frames has the key or a signature."""
    for each in _chain(error):
        assert not type(each).__module__.startswith(("aiohttp", "yarl")), repr(each)
        _assert_clean("".join(traceback.format_exception(each)))
        _assert_clean(f"{each!s} {each!r} {each.args!r} {vars(each)!r}")
        for frame in _frames(each):
            # The body of an answer is what it is.
            values = (value for value in frame.f_locals.values() if not isinstance(value, _RAW))
            _assert_clean(" ".join(map(repr, values)))
    if isinstance(error, MilvueError):
        assert pickle.loads(pickle.dumps(error)).args == error.args  # noqa: S301  made just here
        assert KEY.encode() not in pickle.dumps(error)


def _assert_clean(text: str) -> None:
    assert KEY not in text
    assert SIGNATURE not in text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from _chain(error.__cause__)
        yield from _chain(error.__context__)
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames of the traceback that belong to what speaks HTTP."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") in _OWN_MODULES:
            yield frame
