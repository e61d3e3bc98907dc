"""Signed URLs of the simulator's own blob store: who may put or get which object, until when."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Client", "UrlSigner"]


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends a request: the API key, and the root of URLs by which the simulator is reached."""

    key: str = field(repr=False)
    origin: str


class UrlSigner:
    """Signs URLs with a secret of the simulator.

    As in cloud stores, an object's name is one path segment with its slashes written ``%2F``,
    the client's API key is part of what is signed, and any change to the URL makes it void.

    Args:
        lifetime: Seconds that a URL lives.
        clock: Seconds that only grow.
    """

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Take a new secret; what was signed is void."""
        self.secret = secrets.token_bytes(32)

    def sign(self, method: str, client: Client, name: str) -> str:
        """A URL that lets a client use ``method`` (PUT or GET) on the object ``name``."""
        path = f"/blobs/{quote(name, safe='')}"
        expires = f"{self._clock() + self._lifetime:.3f}"
        signature = self._signature(method, path, expires, client)
        return f"{client.origin}{path}?expires={expires}&signature={signature}"

    def allows(self, method: str, raw_path: str, query: Mapping[str, str], client: Client) -> bool:
        """Whether a request comes by a URL of ours, unchanged and in time, from its client."""
        expires = query.get("expires", "")
        signature = self._signature(method, raw_path, expires, client)
        given = query.get("signature", "")
        if not hmac.compare_digest(signature.encode(), given.encode(errors="replace")):
            return False
        return self._clock() < float(expires)

    def _signature(self, method: str, path: str, expires: str, client: Client) -> str:
        signed = f"{method}\n{path}\n{expires}\n{client.key}"
        return hmac.new(self.secret, signed.encode(errors="replace"), hashlib.sha256).hexdigest()
