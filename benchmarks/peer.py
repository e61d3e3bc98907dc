"""The other end: a server that drains what is posted, and pours out one prepared answer.

It is a process of its own and does no more than HTTP needs, so that it is never what is measured.
Its only argument is a folder: the files in it are the answer to every GET.
"""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["Peer"]

_BUFFER = 1 << 20
_HEAD = 1 << 14  # the StudyInstanceUID stands in the first bytes of a body
_BOUNDARY = "benchmark-boundary"
# StudyInstanceUID (0020,000D) in explicit VR little endian: tag, VR, 16-bit length, value.
_STUDY_INSTANCE_UID = re.compile(rb"\x20\0\x0d\0UI..([0-9.]+)", re.DOTALL)


class Peer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    answer = b""

    def do_POST(self) -> None:
        """Drain a STOW request; answer with the StudyInstanceUID of its first instance."""
        left = int(self.headers["Content-Length"])
        buffer = memoryview(bytearray(_BUFFER))
        left -= self.rfile.readinto(buffer[: min(left, _HEAD)])
        found = _STUDY_INSTANCE_UID.search(bytes(buffer[:_HEAD]))
        while left:
            read = self.rfile.readinto1(buffer[:left])
            if not read:
                raise ConnectionResetError
            left -= read
        uid = found[1].decode() if found else ""
        reply = json.dumps({"StudyInstanceUID": uid, "message": "received"}).encode()
        self._send("application/json", reply)

    def do_GET(self) -> None:
        """Pour out the prepared results, which are those of the first study."""
        self._send(
            f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}', self.answer
        )

    def _send(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Say nothing."""


def _multipart(files: list[Path]) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    parts = [head + file.read_bytes() + b"\r\n" for file in files]
    return b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])


def main() -> None:
    """Serve until killed; the first line of output is the URL."""
    Peer.answer = _multipart(sorted(Path(sys.argv[1]).iterdir()))
    with ThreadingHTTPServer(("127.0.0.1", 0), Peer) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
