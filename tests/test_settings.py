"""Settings are checked when they are made, and never show the key."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import pytest
from pydantic import SecretStr

from milvue_async import ConfigurationError, MilvueClient, Settings

URL = "https://api.example"
KEY = "5f3c1b0e-55aa-4c55-9d22-0f7c1f5a2b11"


def settings(**values: Any) -> Settings:
    return Settings(**{"api_url": URL, "token": KEY, **values})


def test_the_key_is_masked_wherever_settings_show() -> None:
    made = settings()
    assert made.token.get_secret_value() == KEY
    for text in (repr(made), str(made), f"{dataclasses.asdict(made)}", repr(made.token)):
        assert KEY not in text
    client = MilvueClient(URL, KEY)
    assert repr(client) == f"MilvueClient({URL!r})"
    assert KEY not in repr(vars(client))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.example", "https://api.example"),
        ("https://api.example/", "https://api.example"),
        ("  https://api.example// ", "https://api.example"),
        ("https://api.example/v3", "https://api.example"),
        ("https://api.example/v3/", "https://api.example"),
        ("HTTPS://api.example", "https://api.example"),
        ("https://api.example:8443/gateway", "https://api.example:8443/gateway"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_root_of_the_api_is_taken_in_the_ways_people_write_it(given: str, kept: str) -> None:
    assert settings(api_url=given).api_url == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        None,
        7,
        b"https://api.example",
        "api.example",
        "//api.example",
        "ftp://api.example",
        "https://",
        "https:///path",
        "https://api.example:port",
        "https://api.example:99999",
        "https://[::1",
        "https://someone:hidden@api.example",
        "https://@api.example",
        "https://api.example?x=hidden",
        "https://api.example?",
        "https://api.example#",
        "https://api.exa mple",
        "https://api.exa\nmple",
        "https://api.example\\x",
    ],
)
def test_a_root_that_cannot_work_is_refused_without_repeating_it(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_url") as caught:
        settings(api_url=url)
    assert "hidden" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("token", [KEY, f" {KEY}\n", SecretStr(KEY)])
def test_the_key_is_taken_without_the_blanks_around_it(token: object) -> None:
    assert settings(token=token).token.get_secret_value() == KEY


@pytest.mark.parametrize("token", ["", "  ", None, 5, "a b", "a\nb", "schlüssel", b"key"])
def test_a_key_that_no_header_may_carry_is_refused_without_repeating_it(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="token") as caught:
        settings(token=token)
    assert "schl" not in str(caught.value)
    assert "a b" not in str(caught.value)


NUMBERS = [field.name for field in dataclasses.fields(Settings) if field.type in {"int", "float"}]
WHOLE = [field.name for field in dataclasses.fields(Settings) if field.type == "int"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "8", None, True])
def test_a_limit_is_a_positive_number(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is "):
        settings(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_a_limit_that_counts_is_a_whole_number(name: str) -> None:
    with pytest.raises(ConfigurationError, match="whole number"):
        settings(**{name: 1.5})
    assert getattr(settings(**{name: 3}), name) == 3


def test_seconds_may_be_given_as_whole_numbers() -> None:
    assert settings(idle_timeout=5).idle_timeout == 5


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("https://api.example", False),
        ("http://api.example", True),
        ("HTTP://api.example", True),
        ("http://10.0.0.1", True),
        ("http://localhost:8080", False),
        ("http://sim.localhost", False),
        ("http://127.0.0.1", False),
        ("http://127.8.8.8", False),
        ("http://[::1]", False),
        ("http://localhost.example", True),
    ],
)
def test_it_tells_whether_images_would_cross_a_network_in_clear(
    url: str, *, in_clear: bool
) -> None:
    assert settings(api_url=url).sends_in_clear is in_clear


def test_the_environment_names_the_api_and_the_key() -> None:
    environ = {"MILVUE_API_URL": URL, "MILVUE_API_TOKEN": KEY}
    assert Settings.from_env(environ) == settings()
    assert Settings.from_env(environ, max_uploads=2).max_uploads == 2
    client = MilvueClient.from_env(environ, max_uploads=2)
    assert client.settings == settings(max_uploads=2)


def test_what_is_passed_wins_over_the_environment() -> None:
    environ = {"MILVUE_API_URL": "https://other.example", "MILVUE_API_TOKEN": "other"}
    assert Settings.from_env(environ, api_url=URL, token=KEY) == settings()
    assert MilvueClient.from_env(environ, api_url=URL).settings.api_url == URL
    assert Settings.from_env(environ, api_url=None).api_url == "https://other.example"


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "MILVUE_API_URL"),
        ({"MILVUE_API_URL": URL}, "MILVUE_API_TOKEN"),
        ({"MILVUE_API_URL": "", "MILVUE_API_TOKEN": KEY}, "MILVUE_API_URL"),
    ],
)
def test_a_missing_variable_is_named(environ: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        Settings.from_env(environ)
    with pytest.raises(ConfigurationError, match=missing):
        MilvueClient.from_env(environ)


def test_the_processs_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUE_API_URL", URL)
    monkeypatch.setenv("MILVUE_API_TOKEN", KEY)
    assert Settings.from_env() == settings()
    assert MilvueClient.from_env().settings == settings()


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'max_uplods'"):
        MilvueClient(URL, KEY, max_uplods=3)


def test_settings_cannot_be_changed_and_go_through_pickle() -> None:
    made = settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.max_uploads = 3  # type: ignore[misc]  # that it is refused is the point
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301  made here
