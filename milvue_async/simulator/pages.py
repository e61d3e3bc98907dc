"""What the simulator serves to people: a live page at ``/``, and its OpenAPI document.

The page is static. What it shows it fetches from ``/control/overview`` and sets as text, and its
Content-Security-Policy lets nothing else in: names and queries come from clients.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from anyio import to_thread

from milvue_async.simulator.openapi import openapi_json
from milvue_async.simulator.routing import route_of

__all__ = ["Pages"]

_FOLDER = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Pages:
    """The routes that need no key and tell nothing of any study."""

    def table(self) -> list[web.RouteDef]:
        """Every route with its handler."""
        return [
            *(route_of("GET", path, self.get_file) for path in _FILES),
            route_of("GET", "/openapi.json", self.get_openapi),
        ]

    async def get_file(self, request: web.Request) -> web.FileResponse:
        """The page, or a file that belongs to it."""
        name, content_type = _FILES[request.path]
        return web.FileResponse(_FOLDER / name, headers={**_HEADERS, "Content-Type": content_type})

    async def get_openapi(self, _: web.Request) -> web.Response:
        """``/openapi.json``, made when it is asked for first."""
        document = await to_thread.run_sync(openapi_json)
        return web.Response(body=document, content_type="application/json")
