"""What the local HTTP interface answers (docs/http.md). Every answer is made from a snapshot; nothing is decided here."""

from __future__ import annotations

import asyncio
import math
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from spotguard.adapters.http import metrics, openapi
from spotguard.adapters.http.events import EventStreams
from spotguard.adapters.http.guard import BODY_LIMIT_BYTES, GuardRules, guard
from spotguard.adapters.http.status_page import page_routes
from spotguard.core.rehearsal import Asks
from spotguard.ports.daemon_control import DaemonControl, DrillRefused, Health, UnknownCheckpoint

WAIT_LIMIT_SECONDS: Final = 300.0
DRILL_SECONDS: Final = 120.0
_BODY_SECONDS: Final = 10.0
_COMPLETE: Final = "/complete"
_CHECKPOINTS: Final = "/checkpoints/"


def application(control: DaemonControl, rules: GuardRules) -> web.Application:
    routes = _Routes(control)
    events = EventStreams(control.status)
    app = web.Application(middlewares=[guard(rules)], client_max_size=BODY_LIMIT_BYTES)
    app.add_routes(
        [
            web.get("/status", routes.status),
            web.get("/healthz", routes.health),
            web.get("/readyz", routes.readiness),
            web.get("/metrics", routes.metrics),
            web.get("/checkpoints", routes.checkpoints),
            web.get("/interruption", routes.interruption),
            web.get("/openapi.json", routes.openapi),
            web.get("/events", events.answer),
            *page_routes(),
            web.post("/flush", routes.flush),
            web.get("/drill", routes.drill_report),
            web.post("/drill", routes.drill),
            web.post("/checkpoints/{name:.+}/complete", routes.declare_complete),
        ]
    )
    return app


class _Routes:
    def __init__(self, control: DaemonControl) -> None:
        self._control = control

    async def status(self, request: web.Request) -> web.Response:
        return _json(openapi.STATUS.dump_json(self._control.status()))

    async def health(self, request: web.Request) -> web.Response:
        status = self._control.status()
        return _json(openapi.HEALTH.dump_json(Health(True, status.version, status.run, status.watch_dir)))

    async def readiness(self, request: web.Request) -> web.Response:
        reasons = list(self._control.ready())
        if not reasons:
            return web.json_response({"ready": True, "reasons": []})
        return web.json_response({"ready": False, "reasons": reasons, "error": "; ".join(reasons)}, status=503)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=metrics.exposition(self._control.status, self._control.durations), headers={"Content-Type": metrics.CONTENT_TYPE}
        )

    async def checkpoints(self, request: web.Request) -> web.Response:
        return _json(openapi.CHECKPOINTS.dump_json(self._control.status().checkpoints))

    async def openapi(self, request: web.Request) -> web.Response:
        return web.json_response(openapi.describe(self._control.status().version))

    async def interruption(self, request: web.Request) -> web.Response:
        pending = await self._control.interruption(_seconds(request, "wait", default=0.0))
        if pending is None:
            raise web.HTTPNotFound(text="no interruption is pending")
        return _json(openapi.INTERRUPTION.dump_json(pending))

    async def flush(self, request: web.Request) -> web.Response:
        wait = _seconds(request, "wait", default=0.0)
        await _bounded_body(request)
        outcome = await self._control.flush(wait)
        unfinished = [{"name": name, "why": why} for name, why in outcome.unfinished]
        return web.json_response({"committed": list(outcome.committed), "unfinished": unfinished})

    async def declare_complete(self, request: web.Request) -> web.Response:
        name = _checkpoint_name(request)
        await _bounded_body(request)
        try:
            self._control.declare_complete(name)
        except UnknownCheckpoint as unknown:
            raise web.HTTPNotFound(text=str(unknown) or f"no checkpoint {name} lies in the watched folder") from unknown
        return web.json_response({"name": name, "declared": True})

    async def drill(self, request: web.Request) -> web.Response:
        seconds = _seconds(request, "seconds", default=DRILL_SECONDS)
        asks, hooks = _asks(request), request.query.get("hooks", "") in {"1", "true"}
        await _bounded_body(request)
        try:
            await self._control.drill(seconds, asks=asks, hooks=hooks)
        except DrillRefused as refused:
            raise web.HTTPConflict(text=str(refused) or "a drill can not start now") from refused
        return web.json_response({"started": True, "seconds": seconds}, status=202)

    async def drill_report(self, request: web.Request) -> web.Response:
        report = await self._control.drill_report(_seconds(request, "wait", default=0.0))
        if report is None:
            raise web.HTTPNotFound(text="no drill has ended yet")
        return _json(openapi.DRILL.dump_json(report))


def _asks(request: web.Request) -> Asks | None:
    text = request.query.get("asks")
    try:
        return None if text is None else Asks(text)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"asks={text!r} is none of {', '.join(Asks)}") from error


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def _seconds(request: web.Request, key: str, *, default: float) -> float:
    """The number of seconds that the query gives, cut to what a connection may be kept waiting for."""
    text = request.query.get(key)
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds) or seconds < 0:
        raise web.HTTPBadRequest(text=f"{key}={text!r} is not a number of seconds")
    return min(seconds, WAIT_LIMIT_SECONDS)


async def _bounded_body(request: web.Request) -> None:
    """Read the body, which says nothing to us, so that the connection can be used again."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {_BODY_SECONDS:.0f} s") from error


def _checkpoint_name(request: web.Request) -> str:
    """From the path as it was sent, so that a name with a percent sign in it survives one decoding, not two."""
    raw = request.rel_url.raw_path.removeprefix(_CHECKPOINTS).removesuffix(_COMPLETE)
    try:
        name = unquote(raw, errors="strict").strip("/")
    except UnicodeDecodeError as error:
        raise web.HTTPBadRequest(text="the checkpoint's name is not UTF-8") from error
    if not name:
        raise web.HTTPNotFound(text="the path names no checkpoint")
    return name
