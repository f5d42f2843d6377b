"""The page for people at `/`: four files of ours, and nothing from anywhere else."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from aiohttp import web

_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
_HEADERS: Final = {
    # Nothing inline, nothing foreign, in no frame: what a checkpoint's name may hold can not become a script.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[web.RouteDef]:
    return [web.get(path, _answer) for path in _FILES]


async def _answer(request: web.Request) -> web.Response:
    name, content_type = _FILES[request.path]
    body = (files("spotguard.adapters.http") / "page" / name).read_bytes()
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)
