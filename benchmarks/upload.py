"""Upload beside aiohttp's MultipartWriter and beside a client that encodes each file anew.

Run from the root of the checkout: ``python -m benchmarks.upload``.
"""

from __future__ import annotations

from benchmarks.rounds import compare, parse_size

if __name__ == "__main__":
    compare(
        parse_size("Upload, loopback, to a peer that only drains."),
        ("upload_client", "upload_multipart_writer", "upload_reencode"),
    )
