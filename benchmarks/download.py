"""Download to files beside aiohttp's MultipartReader.

Run from the root of the checkout: ``python -m benchmarks.download``.
"""

from __future__ import annotations

from benchmarks.rounds import compare, parse_size

if __name__ == "__main__":
    compare(
        parse_size("Download, loopback, from a peer that pours out one prepared answer."),
        ("download_client", "download_multipart_reader"),
    )
