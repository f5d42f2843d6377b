"""Asks a running daemon on this machine: over TCP or its unix socket, with the same models that it answers with."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from spotguard.adapters.http import openapi
from spotguard.core.listen_address import ListenAddress, UnixAddress, parse_listen_address
from spotguard.core.rehearsal import Asks, DrillReport
from spotguard.core.status import Status
from spotguard.ports.daemon_control import DaemonRefused, FlushOutcome, Health, NoDaemon

T = TypeVar("T")

_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 10.0
_FIX: Final = "start it with `spotguard daemon`, or check http.listen"


class DaemonClient:
    """Each verb is one request. Raises NoDaemon when nobody answers or the answer is not spotguard's, DaemonRefused when the daemon
    says no. Cancelling one changes nothing at the daemon."""

    def __init__(self, session: aiohttp.ClientSession, address: ListenAddress) -> None:
        self._session = session
        self._address = address

    async def health(self) -> Health:
        """That it lives, and whose daemon it is."""
        return self._parse(openapi.HEALTH.validate_json, await self._call("GET", "/healthz"))

    async def status(self) -> Status:
        return self._parse(openapi.STATUS.validate_json, await self._call("GET", "/status"))

    async def flush(self, wait_seconds: float) -> FlushOutcome:
        """Have it commit what is complete, waiting for that up to `wait_seconds` (the daemon caps it at 300)."""
        body = await self._call("POST", f"/flush?wait={wait_seconds}", answer_seconds=wait_seconds + _ANSWER_SECONDS)
        return self._parse(_flush_outcome, body)

    async def declare_complete(self, name: str) -> None:
        """Say that a checkpoint is whole. DaemonRefused with status 404: it knows none of that name."""
        await self._call("POST", f"/checkpoints/{quote(name, safe='/')}/complete")

    async def drill(self, seconds: float, *, asks: Asks | None = None, hooks: bool = False) -> None:
        """Have it rehearse an interruption. DaemonRefused with status 409: not now."""
        query = f"seconds={seconds}" + (f"&asks={asks.value}" if asks else "") + ("&hooks=1" if hooks else "")
        await self._call("POST", f"/drill?{query}")

    async def drill_report(self, wait_seconds: float) -> DrillReport:
        """What the last drill came to. DaemonRefused with status 404: none has ended within this time."""
        body = await self._call("GET", f"/drill?wait={wait_seconds}", answer_seconds=wait_seconds + _ANSWER_SECONDS)
        return self._parse(openapi.DRILL.validate_json, body)

    async def _call(self, method: str, path: str, *, answer_seconds: float = _ANSWER_SECONDS) -> bytes:
        timeout = aiohttp.ClientTimeout(total=answer_seconds, connect=_CONNECT_SECONDS)
        try:
            async with self._session.request(method, URL(path, encoded=True), timeout=timeout, allow_redirects=False) as response:
                body = await response.read()
        except TimeoutError as error:
            raise NoDaemon(f"the daemon at {self._address} does not answer", _FIX) from error
        except aiohttp.ClientConnectorError as error:  # its own text names the address again, and TLS, which is not used
            reason = os.strerror(error.errno) if error.errno else str(error.os_error)
            raise NoDaemon(f"no daemon answers at {self._address}: {reason}", _FIX) from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoDaemon(f"no daemon answers at {self._address}: {error}", _FIX) from error
        if response.status >= 300:
            raise DaemonRefused(_reason(body) or f"the daemon answered {response.status} to {method} {path}", response.status)
        return body

    def _parse(self, parse: Callable[[bytes], T], body: bytes) -> T:
        try:
            return parse(body)
        except (ValueError, KeyError, TypeError) as error:  # pydantic's ValidationError is a ValueError
            raise NoDaemon(f"what answers at {self._address} is not this version of spotguard", _FIX) from error


@asynccontextmanager
async def connect_daemon(listen: str, token: str | None) -> AsyncIterator[DaemonClient]:
    """A client for the daemon that listens at `http.listen`. Nothing is sent yet. Raises ValueError for an address that is none."""
    address = parse_listen_address(listen)
    headers = {"X-Spotguard": "1"} | ({"Authorization": f"Bearer {token}"} if token else {})
    if isinstance(address, UnixAddress):
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=address.path)
        base = URL("http://localhost")
    else:
        connector = aiohttp.TCPConnector()
        base = URL.build(scheme="http", host=address.for_client.host, port=address.port)
    async with aiohttp.ClientSession(base, connector=connector, headers=headers) as session:
        yield DaemonClient(session, address)


def _flush_outcome(body: bytes) -> FlushOutcome:
    document = json.loads(body)
    return FlushOutcome(tuple(document["committed"]), tuple((entry["name"], entry["why"]) for entry in document["unfinished"]))


def _reason(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""
