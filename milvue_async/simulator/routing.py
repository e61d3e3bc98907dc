"""How a route is made known to aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

__all__ = ["route_of"]


def route_of(method: str, path: str, handler: Handler) -> web.RouteDef:
    """A route that answers to this method alone.

    aiohttp would have a GET handler answer HEAD too, by sending all but the bytes: what was not
    sent would count as delivered.
    """
    if method == "GET":
        return web.get(path, handler, allow_head=False)
    return web.route(method, path, handler)
