"""Who may ask what of the local HTTP interface (docs/http.md).

On loopback every local process may read; the danger is a web page in a browser on the same machine. It can send a POST to us but no
header of its own without asking first, so a POST needs `X-Spotguard`; and by DNS rebinding it can read from us, but then under its own
name, so a foreign `Host` is refused. Off loopback only the token counts.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from multidict import CIMultiDictProxy

from spotguard.core.listen_address import ListenAddress, TcpAddress, is_loopback

log = structlog.get_logger()

BODY_LIMIT_BYTES = 16 * 1024
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_READS = frozenset({"GET", "HEAD"})

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class GuardRules:
    token: str | None
    is_local: bool
    """Only this machine can connect."""
    checks_host: bool
    """It listens on loopback TCP, where a browser can be led to it under a foreign name."""

    @classmethod
    def of(cls, address: ListenAddress, token: str | None) -> GuardRules:
        """Raises ValueError for an address that others can reach without a token to keep them out."""
        if not address.is_local and not token:
            raise ValueError(f"http.listen {address} can be reached from other machines: set http.token")
        return cls(token, address.is_local, checks_host=address.is_local and isinstance(address, TcpAddress))

    def objection(self, method: str, path: str, headers: CIMultiDictProxy[str]) -> tuple[int, str] | None:
        """The HTTP status and the reason to refuse this request with, or None when it may pass."""
        if self.checks_host and not all(_names_loopback(host) for host in headers.getall("Host", [])):
            return 403, "this interface is for this machine: use the Host localhost or 127.0.0.1"
        if self.token is not None:
            if path not in OPEN_PATHS and not _bears(headers, self.token):
                return 401, "this call needs the header Authorization: Bearer and the value of http.token"
        elif method not in _READS and headers.get("X-Spotguard") != "1":
            return 403, "a call that changes something needs the header X-Spotguard: 1"
        return None


def _names_loopback(host: str) -> bool:
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return bool(bracket) and is_loopback(name) and _is_port(rest)
    name, colon, port = host.partition(":")
    return is_loopback(name) and _is_port(colon + port)


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isascii() and (text[1:].isdigit() or text == ":"))


def _bears(headers: CIMultiDictProxy[str], token: str) -> bool:
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    matches = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode("utf-8", "surrogateescape"))
    return scheme.lower() == "bearer" and matches


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def guard(rules: GuardRules) -> Middleware:
    """The middleware that applies the rules, bounds bodies and turns every failure into JSON."""

    @web.middleware
    async def middleware(request: web.Request, handler: Answer) -> web.StreamResponse:
        if objection := rules.objection(request.method, request.path, request.headers):
            status, reason = objection
            return error(status, reason, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
        if request.content_length is not None and request.content_length > BODY_LIMIT_BYTES:
            return error(413, f"a body may have at most {BODY_LIMIT_BYTES} bytes")
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            kept = {name: refused.headers[name] for name in ("Allow",) if name in refused.headers}
            return error(refused.status, _said(request, refused), kept)
        except Exception:  # reason: a page that fails must never reach the daemon's own work
            log.exception("http.answer_failed", method=request.method, path=request.path)
            return error(500, "the daemon failed to answer; its log has the reason")
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return middleware


def _said(request: web.Request, refused: web.HTTPException) -> str:
    if refused.text == "404: Not Found":  # the router's own words
        return f"there is nothing at {request.path}"
    if isinstance(refused, web.HTTPMethodNotAllowed):
        return f"{request.method} does not go with {request.path}: use {', '.join(sorted(refused.allowed_methods))}"
    return refused.text or refused.reason
