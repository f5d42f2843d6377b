"""A faithful fake of the EC2 instance metadata service on loopback: for the demo, for trying spotguard anywhere, and for tests.

From Python: change `service.facts` and `service.behaviour`. From another process: `GET /_control` shows both with the request
counts, `POST /_control` changes fields of them (`{"facts": {…}, "behaviour": {…}, "notice": {"action": "terminate", "seconds":
120}, "expire_tokens": true}`), `DELETE /_control` takes the notices and the faults back. Run it with
`python -m spotguard.demo.metadata_service --port 1338` and set `AWS_EC2_METADATA_SERVICE_ENDPOINT` to it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from spotguard.demo.metadata_facts import Behaviour, Facts, documents, listing

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"
_LONGEST_TOKEN_SECONDS = 21600
_XHTML = (
    '<?xml version="1.0" encoding="iso-8859-1"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
    '\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" '
    'lang="en">\n <head>\n  <title>{status} - {reason}</title>\n </head>\n <body>\n  <h1>{status} - {reason}</h1>\n </body>\n</html>\n'
)


class FakeMetadataService:
    """Use as `async with FakeMetadataService() as service:`; `service.url` is the endpoint.

    `requests` counts `"GET meta-data/spot/instance-action"` and the like, `refusals` the statuses of 400 and more."""

    def __init__(self, *, port: int = 0, behaviour: Behaviour | None = None) -> None:
        self.facts = Facts()
        self.behaviour = behaviour or Behaviour()
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[int] = Counter()
        self.connections = 0
        self._port = port
        self._tokens: dict[str, datetime] = {}
        self._runner: web.AppRunner | None = None
        self._known: set[object] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> FakeMetadataService:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a `stop` on the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/_control", self._control)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections from now on; those that hang are cut."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def expire_tokens(self) -> None:
        """Every token that was given out is refused from now on (401)."""
        self._tokens.clear()

    def now(self) -> datetime:
        """The service's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.behaviour.clock_skew_seconds)

    def change(self, wanted: dict[str, Any]) -> None:
        """What `POST /_control` does. Raises ValueError for a field that does not exist."""
        for target, values in ((self.facts, wanted.get("facts", {})), (self.behaviour, wanted.get("behaviour", {}))):
            known = {field.name for field in fields(target)}
            for name, value in values.items():
                if name not in known:
                    raise ValueError(f"there is no {name!r}")
                setattr(target, name, value)
        if notice := wanted.get("notice"):
            self.facts.notice(notice["action"], seconds=notice["seconds"], now=self.now())
        if wanted.get("expire_tokens"):
            self.expire_tokens()

    async def _control(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            try:
                self.change(await request.json())
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                return web.Response(status=400, text=f"{error}\n")
        elif request.method == "DELETE":
            self.facts, self.behaviour = Facts(), Behaviour(mock_like=self.behaviour.mock_like)
        state = {"facts": asdict(self.facts), "behaviour": asdict(self.behaviour), "connections": self.connections}
        counts = {"requests": dict(self.requests), "refusals": {str(status): n for status, n in self.refusals.items()}}
        return web.json_response(state | counts)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"].removeprefix("latest/")
        self._count(request, path)
        knobs = self.behaviour
        if knobs.drop:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if knobs.delay_seconds:
            await asyncio.sleep(knobs.delay_seconds)
        if path in knobs.hang_paths or "*" in knobs.hang_paths or (knobs.hang_token and path == "api/token"):
            await asyncio.Event().wait()
        return self._answer(request, path)

    def _answer(self, request: web.Request, path: str) -> web.Response:
        knobs = self.behaviour
        if knobs.disabled:
            return self._refuse(403)
        if knobs.fail_next > 0:
            knobs.fail_next -= 1
            return self._refuse(knobs.fail_status)
        if path in knobs.fail_paths:
            return self._refuse(knobs.fail_paths[path])
        if request.path.endswith("/api/token"):
            return self._give_token(request)
        if request.method not in ("GET", "HEAD"):
            return self._refuse(405)
        left = self._token_left(request.headers.get(_TOKEN, ""))
        return self._refuse(401) if left is None else self._document(path, left)

    def _give_token(self, request: web.Request) -> web.Response:
        if request.path != "/latest/api/token" or "X-Forwarded-For" in request.headers:
            return self._refuse(403)
        if request.method != "PUT":
            return self._refuse(405)
        wanted = request.headers.get(_TTL, "")
        if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= _LONGEST_TOKEN_SECONDS):
            return self._refuse(400)
        token = secrets.token_urlsafe(40) + "=="
        lives = float(wanted) if self.behaviour.token_seconds is None else self.behaviour.token_seconds
        self._tokens[token] = datetime.now(UTC) + timedelta(seconds=lives)
        return self._respond(200, token, {_TTL: wanted})

    def _token_left(self, token: str) -> int | None:
        ends = self._tokens.get(token)
        if ends is None or ends <= datetime.now(UTC):
            self._tokens.pop(token, None)
            return None
        return int((ends - datetime.now(UTC)).total_seconds())

    def _document(self, path: str, left: int) -> web.Response:
        known = documents(self.facts, self.behaviour, self.now())
        text = known.get(path, known.get(path.rstrip("/")) if self.behaviour.mock_like else None)
        if text is None and path.endswith("/"):
            text = listing(list(known), path)
        if text is None:
            return self._refuse(404)
        is_json = text[:1] in ("{", "[")
        content_type = "application/json" if is_json and self.behaviour.mock_like else "text/plain"
        return self._respond(200, text, {} if self.behaviour.mock_like else {_TTL: str(left)}, content_type)

    def _refuse(self, status: int) -> web.Response:
        self.refusals[status] += 1
        page = _XHTML if self.behaviour.mock_like or status == 404 else ""
        return self._respond(status, page.format(status=status, reason=web.Response(status=status).reason), {})

    def _respond(self, status: int, text: str, headers: dict[str, str], content_type: str = "text/plain") -> web.Response:
        date = format_datetime(self.now().replace(microsecond=0), usegmt=True)
        return web.Response(status=status, text=text, headers={"Date": date, "Server": "EC2ws", **headers}, content_type=content_type)

    def _count(self, request: web.Request, path: str) -> None:
        self.requests[f"{request.method} {path}"] += 1
        if request.protocol not in self._known:
            self._known.add(request.protocol)
            self.connections += 1


async def serve(port: int) -> None:
    """Serve until cancelled."""
    async with FakeMetadataService(port=port) as service:
        print(f"metadata service at {service.url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake EC2 instance metadata service on loopback.")
    parser.add_argument("--port", type=int, default=1338, help="0 picks a free one")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
