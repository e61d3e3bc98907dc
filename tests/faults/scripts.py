"""What a fault server does with one request."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from tests.faults.server import Exchange, Script

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BOUNDARY",
    "Exchange",
    "Script",
    "answer",
    "break_chunking",
    "captive_portal",
    "cut",
    "cut_without_length",
    "drip",
    "garbage",
    "gzip_bomb",
    "lose_reply",
    "message",
    "multipart",
    "oversized_headers",
    "parts",
    "redirect",
    "refuse_early",
    "reply_json",
    "reset_at_once",
    "reset_in_reply",
    "reset_in_upload",
    "stall_in_reply",
    "stall_in_upload",
    "stall_reply",
]

BOUNDARY = "frontier"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def message(
    status: int,
    body: bytes,
    content_type: str | None,
    headers: Mapping[str, str] | None = None,
    *,
    has_length: bool = True,
) -> bytes:
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status} Scripted"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines.append(f"Content-Length: {len(body)}" if has_length else "Connection: close")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(
    status: int = 200,
    body: bytes = b"",
    content_type: str | None = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Script:
    """Read the whole request, answer, and keep the connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        await exchange.send(message(status, body, content_type, headers))

    return script


def reply_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Script:
    return answer(status, json.dumps(value).encode(), headers=headers)


def parts(*contents: bytes, content_type: str = "application/dicom") -> bytes:
    """A whole multipart body."""
    head = f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n\r\n".encode()
    framed = b"".join(head + content + b"\r\n" for content in contents)
    return framed + f"--{BOUNDARY}--\r\n".encode()


def multipart(body: bytes) -> Script:
    """Answer with a multipart body, be it whole or not."""
    return answer(200, body, MULTIPART)


def refuse_early(
    status: int, body: bytes = b"", *, after: int = 0, headers: Mapping[str, str] | None = None
) -> Script:
    """Answer when so much of the body has come, and close without reading the rest."""

    async def script(exchange: Exchange) -> None:
        await exchange.receive(after)
        await exchange.send(message(status, body, "application/json", headers))
        exchange.close()

    return script


def redirect(status: int, location: str) -> Script:
    return answer(status, b"", None, {"Location": location})


def cut(
    body: bytes, keep: int, content_type: str = "application/json", *, status: int = 200
) -> Script:
    """Promise a body and close after ``keep`` bytes of it."""

    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        whole = message(status, body, content_type)
        await exchange.send(whole[: len(whole) - len(body) + keep])
        exchange.close()

    return script


def cut_without_length(body: bytes, keep: int, content_type: str = "application/json") -> Script:
    """Close in a body whose end is that of the connection: to HTTP it is whole."""

    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        await exchange.send(message(200, body[:keep], content_type, has_length=False))
        exchange.close()

    return script


def break_chunking(body: bytes, content_type: str, *, pause: float) -> Script:
    """Send one chunk, and then, at once or later, something that is none."""

    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked"
        begin = f"{head}\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n"
        if pause:
            await exchange.send(begin)
            await exchange.pause(pause)
            begin = b""
        await exchange.send(begin + b"what?\r\n")
        exchange.close()

    return script


async def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


def reset_in_upload(after: int) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.receive(after)
        exchange.reset()

    return script


def reset_in_reply(body: bytes, keep: int, content_type: str = "application/json") -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        whole = message(200, body, content_type)
        await exchange.send(whole[: len(whole) - len(body) + keep])
        # Let it arrive before what takes it back.
        await exchange.pause(0.02)
        exchange.reset()

    return script


async def lose_reply(exchange: Exchange) -> None:
    """Take the whole request and close without a word."""
    await exchange.receive()
    exchange.close()


async def stall_reply(exchange: Exchange) -> None:
    """Take the whole request and never answer."""
    await exchange.receive()
    await exchange.stall()


async def stall_in_upload(exchange: Exchange) -> None:
    """Take nothing of the body."""
    await exchange.stall()


def stall_in_reply(
    body: bytes, keep: int, content_type: str = "application/json", *, status: int = 200
) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        whole = message(status, body, content_type)
        await exchange.send(whole[: len(whole) - len(body) + keep])
        await exchange.stall()

    return script


def drip(body: bytes, content_type: str = "application/json", *, status: int = 200) -> Script:
    """Send the body byte by byte, so slowly that it would take minutes."""

    async def script(exchange: Exchange) -> None:
        await exchange.receive()
        padded = body + b" " * 65536
        whole = message(status, padded, content_type)
        at = len(whole) - len(padded)
        await exchange.send(whole[:at])
        while await exchange.pause(0.02):
            await exchange.send(whole[at : at + 1])
            at += 1
        await exchange.stall()

    return script


async def garbage(exchange: Exchange) -> None:
    await exchange.receive()
    await exchange.send(b"\x00\x01 SSH-2.0-OpenSSH_9.6 what is this?\r\n\r\n")
    exchange.close()


async def oversized_headers(exchange: Exchange) -> None:
    await exchange.receive()
    await exchange.send(message(200, b"{}", "application/json", {"X-Large": "x" * 100_000}))
    exchange.close()


def gzip_bomb(mebibytes: int, content_type: str = "application/json") -> Script:
    """A body a thousandth the size of what it inflates to."""
    body = gzip.compress(bytes(mebibytes << 20), compresslevel=1)
    return answer(200, body, content_type, {"Content-Encoding": "gzip"})


captive_portal = answer(200, b"<html><title>Please log in</title></html>", "text/html")
