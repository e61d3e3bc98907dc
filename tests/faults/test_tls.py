"""TLS: a private authority is trusted where it is given, and nothing goes out where it is not."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from milvue_async import ProtocolError, RequestTimeoutError, TransportError
from tests.faults import scripts
from tests.faults.routes import ROUTES, Route, named
from tests.faults.server import FaultServer
from tests.faults.support import KEY, STUDY_UID, Scene, assert_reveals_nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def secure(scene: Scene, authority: trustme.CA) -> AsyncIterator[Scene]:
    """The scene with an API behind TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with FaultServer(tls=context) as api:
        scene.api = api
        scene.serve()
        yield scene


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """A context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_every_route_works_with_a_private_authority(
    secure: Scene, trust: ssl.SSLContext, route: Route
) -> None:
    async with secure.client(ssl_context=trust) as client:
        await route.call(client, secure)
    assert secure.api.received(route.target)


@pytest.mark.parametrize("name", ["store", "status", "download"])
async def test_a_certificate_that_is_not_trusted_is_an_error_and_not_tried_again(
    secure: Scene, name: str
) -> None:
    async with secure.client() as client:
        with pytest.raises(TransportError, match=r"TLS failed.*certificate") as caught:
            await named(name).call(client, secure)
    error = caught.value
    assert (error.route, error.study_instance_uid) == (named(name).route, STUDY_UID)
    assert not error.retryable
    assert not error.in_doubt
    assert secure.clock.sleeps == []
    assert KEY.encode() not in secure.api.raw
    assert_reveals_nothing(error)


async def test_a_certificate_for_another_host_is_an_error(
    scene: Scene, authority: trustme.CA, trust: ssl.SSLContext
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    async with FaultServer(tls=context) as api:
        scene.api = api
        async with scene.client(ssl_context=trust) as client:
            with pytest.raises(TransportError, match="TLS failed"):
                await client.get_status(STUDY_UID)
    assert not api.raw


async def test_a_server_that_does_not_speak_tls_is_an_error(
    scene: Scene, trust: ssl.SSLContext
) -> None:
    received = bytearray()

    async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(65536))
        writer.write(scripts.message(400, b"", None))
        writer.close()

    server = await asyncio.start_server(speak_http, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with scene.client(api_url=url, ssl_context=trust) as client:
            with pytest.raises(TransportError, match="TLS failed: WRONG_VERSION") as caught:
                await client.post_study(scene.files)
    assert received
    assert KEY.encode() not in received
    assert not caught.value.retryable
    assert not caught.value.in_doubt
    assert_reveals_nothing(caught.value)


async def test_a_handshake_that_hangs_ends_after_the_time_to_connect(
    scene: Scene, trust: ssl.SSLContext
) -> None:
    url = scene.api.url.replace("http:", "https:")
    options = {"connect_timeout": 0.3, "idle_timeout": 30.0, "retry_attempts": 1}
    async with scene.client(api_url=url, ssl_context=trust, **options) as client:
        with pytest.raises(RequestTimeoutError, match="could not connect in time") as caught:
            await client.post_study(scene.files)
    assert not caught.value.in_doubt


@pytest.mark.parametrize("name", ["put", "signed results", "signed download"])
async def test_an_https_api_that_gives_an_http_url_gets_no_key_in_clear(
    secure: Scene, trust: ssl.SSLContext, name: str
) -> None:
    clear = f"{secure.elsewhere.url}/blob?sig=1"
    announced = secure.announced() | {"signed_urls": {f"{STUDY_UID}.1.1": clear}}
    retrievable = secure.retrievable() | {"signed_urls": [clear]}
    secure.api.on("POST /v3/studies", scripts.reply_json(announced))
    secure.api.on(f"GET /v3/studies/{STUDY_UID}", scripts.reply_json(retrievable))
    async with secure.client(ssl_context=trust) as client:
        with pytest.raises(ProtocolError, match="not encrypted") as caught:
            await named(name).call(client, secure)
    assert caught.value.route == named(name).route
    assert secure.elsewhere.connections == 0
    assert len(secure.api.requests) == 1


async def test_a_connection_that_breaks_under_tls_is_tried_again(
    secure: Scene, trust: ssl.SSLContext
) -> None:
    body = secure.body("status")
    secure.api.on(
        named("status").target,
        scripts.reset_at_once,
        scripts.cut(body, 10),
        scripts.reset_in_reply(body, 10),
        scripts.answer(200, body),
    )
    async with secure.client(ssl_context=trust, retry_attempts=4) as client:
        await client.get_status(STUDY_UID)
    assert len(secure.api.requests) == 4
