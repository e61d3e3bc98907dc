"""A client without manners: bytes over a socket, and how the connection ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import anyio

from tests.simulator.support import ACCEPT, KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulator.support import Api

SHORT = 0.15  # seconds, for what is not to come
ENOUGH = 1.0  # seconds, for what comes in part and then no further
_LONG = 10.0  # seconds, for what comes
_PIECE = 1 << 16


@dataclass(frozen=True)
class Seen:
    """What a socket has seen.

    ``end`` is ``closed`` (TCP FIN), ``reset`` (TCP RST), or ``open`` where nothing more came.
    """

    received: bytes
    end: Literal["closed", "reset", "open"]
    sent: int

    @property
    def head(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1])


def port_of(api: Api) -> int:
    return int(api.simulator.url.rpartition(":")[2])


def head(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A request's head; the connection ends after the answer."""
    lines = {"Host": "x", "x-goog-meta-owner": KEY, "Accept": ACCEPT, "Connection": "close"}
    lines |= headers or {}
    fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()


def stow_head(length: int) -> bytes:
    kind = "multipart/related; boundary=frontier"
    return head("POST", "/v3/studies", {"Content-Type": kind, "Content-Length": str(length)})


async def exchange(api: Api, *sent: bytes, patience: float = _LONG) -> Seen:
    """Send bytes, as far as they are taken, and receive what comes.

    It ends with the connection, or when nothing has gone either way for ``patience`` seconds.
    """
    received = b""
    taken = 0
    end: Literal["closed", "reset", "open"] = "open"
    whole = b"".join(sent)
    async with await anyio.connect_tcp("127.0.0.1", port_of(api)) as stream:
        try:
            while taken < len(whole):
                with anyio.fail_after(patience):
                    await stream.send(whole[taken : taken + _PIECE])
                taken += len(whole[taken : taken + _PIECE])
            while True:
                with anyio.fail_after(patience):
                    received += await stream.receive()
        except TimeoutError:
            pass
        except anyio.EndOfStream:
            end = "closed"
        except anyio.BrokenResourceError:
            end = "reset"
    return Seen(received, end, taken)
