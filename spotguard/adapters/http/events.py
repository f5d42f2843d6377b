"""`/events`: the status as it changes, as server-sent events (WHATWG HTML, "Server-sent events").

`status`: the JSON of `GET /status`. `headline`: the one sentence on it. Both are sent at once and then whenever they have changed, looked
at once a second. `clock`, at the beginning: what time it is here, for who counts down to a deadline. A client that goes away ends its
stream; one that does not read is dropped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from spotguard.adapters.http import openapi
from spotguard.core.headline import headline
from spotguard.core.status import Status

LOOK_SECONDS: Final = 1.0
_QUIET_SECONDS: Final = 5.0
"""The headline is said again after so long without an event, so that who listens knows that we are there."""
_MOST_STREAMS: Final = 16
_SEND_SECONDS: Final = 10.0
_HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStreams:
    def __init__(self, status: Callable[[], Status], *, look_seconds: float = LOOK_SECONDS) -> None:
        self._status = status
        self._look_seconds = look_seconds
        self._open = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Until the client goes away or the server stops. 503 when too many streams are open."""
        if self._open >= _MOST_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_STREAMS} streams of events are open already")
        self._events()  # a status that can not be told is an error here, and no stream that says nothing
        stream = web.StreamResponse(headers=_HEADERS)
        await stream.prepare(request)
        if request.method == "HEAD":
            return stream
        self._open += 1
        try:
            await self._send(stream)
        except (ConnectionError, TimeoutError):
            return stream
        finally:
            self._open -= 1
        return stream

    async def _send(self, stream: web.StreamResponse) -> None:
        await stream.write(_event("clock", json.dumps({"now": datetime.now(UTC).isoformat()}).encode()))
        sent: dict[str, bytes] = {}
        silent = 0.0
        while True:
            now = self._events()
            if silent >= _QUIET_SECONDS:
                sent.pop("headline")
            if changed := b"".join(_event(kind, text) for kind, text in now.items() if sent.get(kind) != text):
                async with asyncio.timeout(_SEND_SECONDS):
                    await stream.write(changed)
            sent, silent = now, 0.0 if changed else silent + self._look_seconds
            await asyncio.sleep(self._look_seconds)

    def _events(self) -> dict[str, bytes]:
        status = self._status()
        line = headline(status, datetime.now(UTC))
        told = {"level": line.level, "word": line.word, "sentence": line.sentence}
        return {"headline": json.dumps(told).encode(), "status": openapi.STATUS.dump_json(status)}


def _event(kind: str, text: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), text)
