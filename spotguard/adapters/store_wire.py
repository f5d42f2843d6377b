"""Requests that move bytes between files and the store: our own HTTP exchange, where boto3 found that the store is.

Why not the S3 client of the AWS CRT: it copies every body into buffers of its own, and a second time into its frames. Measured side by
side on two cores (benchmarks/): the same parts leave at more than twice the throughput, for half the CPU and an eighth of the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError
from botocore.httpsession import where

from spotguard.adapters.daemon_threads import DaemonThreads
from spotguard.adapters.s3_access import Route, S3Access
from spotguard.adapters.s3_errors import Subject
from spotguard.adapters.s3_failures import from_botocore
from spotguard.adapters.together import settled
from spotguard.adapters.wire_batch import Batch
from spotguard.adapters.wire_body import FileBody, FileSink
from spotguard.adapters.wire_connections import Connections, Place
from spotguard.adapters.wire_exchange import Answer, Exchange, WireRequest
from spotguard.adapters.wire_proxy import Proxy, proxy_for
from spotguard.adapters.wire_signing import UNSIGNED, UNSIGNED_WITH_TRAILER, PathSigner, sign
from spotguard.ports.object_store import StoreUnavailable
from spotguard.ports.part_transfer import Slice

T = TypeVar("T")

_END_SECONDS = 5.0
"""A request that is broken off ends in milliseconds, unless the disk hangs under it."""


class StoreWire:
    """At most twice as many requests at a time as the settings allow connections: for both ways."""

    def __init__(self, access: S3Access, stall_seconds: float) -> None:
        self._access = access
        self._connections = Connections(stall_seconds)
        self.pacing = self._connections.pacing
        self._threads = DaemonThreads("spotguard-wire", 2 * access.settings.connections)
        self._route: Route | None = None
        self._proxy: Proxy | None = None

    async def ready(self, subject: Subject) -> None:
        """Find out where the store is. Raises port errors."""
        route = await self._access.route(subject)
        if route is not self._route:
            self._route, self._proxy = route, proxy_for(route.endpoint)

    @property
    def custom_endpoint(self) -> bool:
        return self._route is not None and self._route.path_style and ".amazonaws." not in self._route.endpoint

    @property
    def host(self) -> str:
        """The `Host` header, with the port unless it is the scheme's."""
        assert self._route is not None
        host = urlsplit(self._route.endpoint).netloc
        return host if self._route.path_style else f"{self._access.settings.bucket}.{host}"

    @property
    def port(self) -> int | None:
        """Of the endpoint; None before the first `ready`."""
        if self._route is None:
            return None
        return urlsplit(self._route.endpoint).port or (443 if self._route.secure else 80)

    def path(self, key: str, query: str = "") -> str:
        """Percent-encoded as Signature Version 4 wants it."""
        assert self._route is not None
        bucket = f"/{self._access.settings.bucket}" if self._route.path_style else ""
        return f"{bucket}/{quote(key, safe='/-_.~')}{'?' if query else ''}{query}"

    async def perform(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        subject: Subject,
        limit_seconds: float,
        *,
        body: FileBody | None = None,
        sink: FileSink | None = None,
        trailer: bool = False,
    ) -> Answer:
        """Send a request and wait for its end, at most `limit_seconds`; then it is broken off and StoreUnavailable raised.

        Raises port errors for missing credentials. Cancelled: it is broken off, and has ended when this raises, so that the file may be
        closed; the store may have done it."""
        route = self._route
        assert route is not None

        place = self._place(route)

        def prepare() -> WireRequest:
            signed = self._signed(route, method, path, headers, trailer=trailer)
            if place.proxy is None or route.secure:
                return WireRequest(method, path, signed, body, sink)
            return WireRequest(method, f"http://{self.host}{path}", {**signed, **place.proxy.headers}, body, sink)

        exchange = Exchange(self._connections, place, prepare)
        try:
            return await self._ended(exchange.run, exchange.break_off, subject, limit_seconds)
        except BotoCoreError as error:
            raise from_botocore(error, subject) from error

    async def fetch_batch(self, keys: Sequence[str], slices: Sequence[Slice], subject: Subject, limit_seconds: float) -> list[int | None]:
        """The CRC64NVME of what came without trouble, of each of many small objects (see `Batch`). Cancelled: as `perform`.

        Raises port errors for missing credentials."""
        route = self._route
        assert route is not None
        place = self._place(route)

        def prepare() -> Iterator[bytes]:
            paths = [self.path(key) for key in keys]
            signer = self._path_signer(route, paths[0])
            to_proxy = place.proxy is not None and not route.secure
            fixed = {**signer.headers, **(place.proxy.headers if place.proxy is not None and to_proxy else {})}
            before = f"GET http://{self.host}" if to_proxy else "GET "
            after = " HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fixed.items()) + "Authorization: "
            for path in paths:
                yield f"{before}{path}{after}{signer.authorization(path)}\r\n\r\n".encode()

        batch = Batch(self._connections, place, prepare, slices)

        def break_off() -> bool:
            batch.break_off()
            return True

        try:
            await self._ended(batch.run, break_off, subject, limit_seconds)
        except BotoCoreError as error:
            raise from_botocore(error, subject) from error
        except StoreUnavailable:
            pass  # some may have come
        return batch.sums

    async def _ended(self, run: Callable[[], T], break_off: Callable[[], bool], subject: Subject, limit_seconds: float) -> T:
        """What `run` comes to in a thread. Raises StoreUnavailable after `limit_seconds`. When this raises, also for a cancellation, it has
        been broken off and has ended; `break_off` says whether that needs waiting for."""
        ended = self._threads.start(run)
        try:
            await asyncio.wait([ended], timeout=limit_seconds)
            if not ended.done():
                raise StoreUnavailable(f"{subject}: no answer within {limit_seconds:.0f} s", "nothing if it passes: it is tried again")
            return ended.result()
        finally:
            if not ended.done():
                if break_off():
                    await settled([ended], _END_SECONDS)
                ended.cancel()  # one that has not begun never will

    async def close(self) -> None:
        """Close idle connections and let the threads end; every request must have ended before."""
        self._threads.close()
        self._connections.close()

    def _path_signer(self, route: Route, path: str) -> PathSigner:
        """For GET requests. Raises BotoCoreError where there are no credentials; in a thread, as `_signed`."""
        url = f"{'https' if route.secure else 'http'}://{self.host}{path}"
        return PathSigner("GET", url, {"host": self.host}, credentials=self._access.identity.frozen(), region=route.region)

    def _signed(self, route: Route, method: str, path: str, headers: Mapping[str, str], *, trailer: bool) -> dict[str, str]:
        """Raises BotoCoreError where there are no credentials. In a thread: they may have to be fetched."""
        credentials = self._access.identity.frozen()
        url = f"{'https' if route.secure else 'http'}://{self.host}{path}"
        payload = UNSIGNED_WITH_TRAILER if trailer else UNSIGNED
        return sign(method, url, headers, credentials=credentials, region=route.region, payload=payload)

    def _place(self, route: Route) -> Place:
        """Trusts what boto3 trusts: AWS_CA_BUNDLE or the like, else the bundle it comes with (a slim image has no other)."""
        host = urlsplit(f"//{self.host}").hostname or ""
        return Place(host, self.port or 443, (route.ca_bundle or str(where())) if route.secure else None, self._proxy)
