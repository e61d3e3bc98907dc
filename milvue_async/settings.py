"""Where the API is, the key to it, and the limits that a client keeps."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from milvue_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "checked_url"]

API_URL_VARIABLE = "MILVUE_API_URL"
API_TOKEN_VARIABLE = "MILVUE_API_TOKEN"  # noqa: S105  the name of a variable, not a key

_MIB = 1 << 20
# By the annotation of a field.
_NUMBERS: dict[object, tuple[type, ...]] = {"int": (int,), "float": (int, float)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One client's settings; checked when made.

    Attributes:
        api_url: Root of the API, such as ``https://predict.milvue.com``; ``/v3`` is added.
        token: The API key. Its repr is masked.
        max_uploads: Instances or STOW requests whose bytes may be on the way out at once.
        max_downloads: Results whose bytes may be on the way in at once.
        max_connections: Open connections in all.
        connect_timeout: Seconds for name look-up, connecting and TLS.
        idle_timeout: Seconds without progress, in either direction, before a request is given up.
        request_timeout: Seconds for a whole exchange of the small JSON routes.
        retry_attempts: Tries of one request, the first included.
        retry_timeout: Seconds within which the last try of one request may start.
        retry_base: Seconds; the first retry waits up to this long, each next up to twice as long.
        retry_cap: Seconds that one wait between tries is at most, unless the server asks for more.
        poll_interval: Seconds before the second question for a status; it grows from there.
        poll_cap: Seconds between two such questions at most.
        store_accept: Accept header of STOW requests. A PACS wants ``application/dicom+json``.
        retrieve_accept: Accept header of WADO requests. A PACS may refuse the JSON alternative.
        max_json_bytes: Largest JSON answer that is read, in bytes.
        max_result_bytes: Largest DICOM result, inflated, in bytes.
        trust_env: Whether ``HTTPS_PROXY`` and its like are honoured.

    Raises:
        ConfigurationError: A value is missing or cannot work.
    """

    api_url: str
    token: SecretStr
    max_uploads: int = 8
    max_downloads: int = 8
    max_connections: int = 64
    connect_timeout: float = 30.0
    idle_timeout: float = 60.0
    request_timeout: float = 60.0
    retry_attempts: int = 6
    retry_timeout: float = 300.0
    retry_base: float = 0.5
    retry_cap: float = 20.0
    poll_interval: float = 1.0
    poll_cap: float = 10.0
    store_accept: str = "application/json"
    retrieve_accept: str = (
        'multipart/related; type="application/dicom"; transfer-syntax=*, application/json'
    )
    max_json_bytes: int = 64 * _MIB
    max_result_bytes: int = 2048 * _MIB
    trust_env: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_url", checked_url(self.api_url))
        object.__setattr__(self, "token", _checked_token(self.token))
        for field in dataclasses.fields(self):
            _check_number(field.name, field.type, getattr(self, field.name))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Settings from ``MILVUE_API_URL`` and ``MILVUE_API_TOKEN``; ``overrides`` win.

        Raises:
            ConfigurationError: A variable is missing and no override stands in for it.
        """
        environ = os.environ if environ is None else environ
        found = {
            "api_url": environ.get(API_URL_VARIABLE),
            "token": environ.get(API_TOKEN_VARIABLE),
            **{name: value for name, value in overrides.items() if value is not None},
        }
        for name, variable in (("api_url", API_URL_VARIABLE), ("token", API_TOKEN_VARIABLE)):
            if not found[name]:
                msg = f"no {name}: set {variable}, or pass it"
                raise ConfigurationError(msg)
        return cls(**found)

    @property
    def sends_in_clear(self) -> bool:
        """Whether the key and the images would cross a network unencrypted."""
        parts = urlsplit(self.api_url)
        return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def checked_url(value: object) -> str:
    """The root of an API as it is used: without ``/v3`` and without a slash at its end.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(value, str) or not value.strip():
        msg = "api_url is empty: give the root of the API, such as https://host"
        raise ConfigurationError(msg)
    url = value.strip()
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = "api_url is not an http(s) URL with a host, such as https://host"
        raise ConfigurationError(msg)
    if not url.isprintable() or not set(url).isdisjoint(" \\@?#"):
        msg = "api_url has a user, a query, a fragment or blanks: give scheme, host, port and path"
        raise ConfigurationError(msg)
    # In lower case, since whether a signed URL may go in clear is decided by it.
    url = parts.scheme + url[len(parts.scheme) :]
    return url.rstrip("/").removesuffix("/v3")


def _split(value: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(value)
        _ = parts.port
        return parts
    raise ConfigurationError("api_url cannot be read as a URL (is its port a number?)")


def _checked_token(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not text.strip():
        msg = "token is empty: give the API key that Milvue provides"
        raise ConfigurationError(msg)
    text = text.strip()
    if not (text.isascii() and text.isprintable()) or " " in text:
        msg = "token has characters that no HTTP header may carry"
        raise ConfigurationError(msg)
    return SecretStr(text)


def _check_number(name: str, kind: object, value: Any) -> None:
    if kind not in _NUMBERS:
        return
    is_number = isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        msg = f"{name} is {value!r}: give a positive {'whole ' if kind == 'int' else ''}number"
        raise ConfigurationError(msg)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
