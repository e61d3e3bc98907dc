"""Proxies of the environment are used where they are wanted, and nothing else of it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milvue_async import TransportError
from tests.faults import scripts
from tests.faults.routes import named
from tests.faults.server import FaultServer
from tests.faults.support import KEY, STUDY_UID, Scene, assert_reveals_nothing

if TYPE_CHECKING:
    from pathlib import Path

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_PROXIES, "all_proxy", "ALL_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


async def test_a_netrc_gives_no_second_credential(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with scene.client(trust_env=True) as client:
        await named("put").call(client, scene)
    assert len(scene.api.requests) == 2
    for request in scene.api.requests:
        assert "authorization" not in request.headers


async def test_a_proxy_of_the_environment_is_asked_for_http(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FaultServer() as proxy:
        target = f"{scene.api.url}/v3/studies/{STUDY_UID}/status"
        proxy.on(f"GET {target}", scripts.answer(200, scene.body("status")))
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:word@"))
        async with scene.client(trust_env=True) as client:
            await client.get_status(STUDY_UID)
    assert scene.api.connections == 0
    assert "proxy-authorization" in proxy.requests[0].headers


@pytest.mark.parametrize("setting", ["127.0.0.1", "*"])
async def test_a_host_that_is_excepted_is_asked_without_a_proxy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("http_proxy", scene.elsewhere.url)
    monkeypatch.setenv("no_proxy", setting)
    async with scene.client(trust_env=True) as client:
        await client.get_status(STUDY_UID)
    assert len(scene.api.requests) == 1


async def test_the_environment_can_be_left_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", scene.elsewhere.url)
    async with scene.client(trust_env=False) as client:
        await client.get_status(STUDY_UID)
    assert len(scene.api.requests) == 1


@pytest.mark.parametrize(("status", "tries"), [(407, 1), (403, 1), (502, 3), (503, 3)])
async def test_a_proxy_that_refuses_is_an_error_and_sees_no_key(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, status: int, tries: int
) -> None:
    async with FaultServer(otherwise=scripts.refuse_early(status)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with scene.client(trust_env=True, api_url="https://api.example") as client:
            with pytest.raises(TransportError, match=f"proxy refused with status {status}") as it:
                await client.post_study(scene.files)
    assert len(proxy.requests) == tries
    assert all(request.method == "CONNECT" for request in proxy.requests)
    assert KEY.encode() not in proxy.raw
    assert not it.value.in_doubt
    assert_reveals_nothing(it.value)
