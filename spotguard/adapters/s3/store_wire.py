"""Requests that move bytes between files and the store: our own HTTP exchange, where boto3 found that the store is.

Why not the S3 client of the AWS CRT: it copies every body into buffers of its own, and a second time into its frames. Measured side by
side on two cores (benchmarks/): the same parts leave at more than twice the throughput, for half the CPU and an eighth of the memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from spotguard.adapters.daemon_threads import DaemonThreads
from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.address import WireAddress
from spotguard.adapters.s3.credentials import CredentialsFault
from spotguard.adapters.s3.environment import SigningKeys
from spotguard.adapters.s3.errors import Subject
from spotguard.adapters.s3.heads import RequestHeads
from spotguard.adapters.s3.signing import UNSIGNED, UNSIGNED_WITH_TRAILER, PathSigner
from spotguard.adapters.together import settled
from spotguard.adapters.wire.batch import Batch, Head, SmallRequest
from spotguard.adapters.wire.body import FileBody, FileSink
from spotguard.adapters.wire.connections import Connections
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.adapters.wire.proxy import proxy_for
from spotguard.ports.object_store import StoreUnavailable

T = TypeVar("T")

_SIGNER_SECONDS = 60.0
"""S3 takes a signature for a quarter of an hour. By the wall clock: a machine may have slept."""
_SIGNERS_KEPT = 8
_END_SECONDS = 5.0
"""A request that is broken off ends in milliseconds, unless the disk hangs under it."""


class _Alike(NamedTuple):
    """What requests have in common that one signer can sign."""

    address: WireAddress
    method: str
    headers: tuple[tuple[str, str], ...]
    trailer: bool
    credentials: SigningKeys


class StoreWire:
    """At most twice as many requests at a time as the settings allow connections: for both ways."""

    def __init__(self, access: S3Access, stall_seconds: float) -> None:
        self._access = access
        self._connections = Connections(stall_seconds)
        self.pacing = self._connections.pacing
        self._threads = DaemonThreads("spotguard-wire", 2 * access.settings.connections)
        self._address: WireAddress | None = None
        self._signers: dict[_Alike, tuple[float, PathSigner]] = {}
        """With the time when each was made. Two threads that make the same one at a time lose nothing but that work."""

    async def ready(self, subject: Subject) -> None:
        """Find out where the store is. Raises port errors."""
        route = await self._access.route(subject)
        if self._address is None or route is not self._address.route:
            self._address = WireAddress(route, self._access.settings.bucket, proxy_for(route.endpoint))

    @property
    def custom_endpoint(self) -> bool:
        return self._address is not None and self._address.route.is_custom

    @property
    def port(self) -> int | None:
        """Of the endpoint; None before the first `ready`."""
        return None if self._address is None else self._address.port

    def path(self, key: str, query: str = "") -> str:
        """Percent-encoded as Signature Version 4 wants it."""
        return self._known.path(key, query)

    @property
    def _known(self) -> WireAddress:
        assert self._address is not None
        return self._address

    async def perform(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        subject: Subject,
        limit_seconds: float,
        *,
        beside: Mapping[str, str] | None = None,
        body: FileBody | None = None,
        sink: FileSink | None = None,
        trailer: bool = False,
    ) -> Answer:
        """Send a request and wait for its end, at most `limit_seconds`; then it is broken off and StoreUnavailable raised.

        `headers`, without the host, are signed; `beside` are not. Raises port errors for missing credentials. Cancelled: it is broken off,
        and has ended when this raises, so that the file may be closed; the store may have done it."""
        address = self._known

        def prepare() -> WireRequest:
            signer = self._signer(address, method, headers, trailer=trailer)
            own = signer.own(path, 0 if body is None else body.size)
            all_headers = {**signer.headers, **own, **(beside or {})}
            if (to_proxy := address.to_proxy) is None:
                return WireRequest(method, path, all_headers, body, sink)
            return WireRequest(method, address.url(path), {**all_headers, **to_proxy}, body, sink)

        exchange = Exchange(self._connections, address.place, prepare)
        try:
            return await self._ended(exchange.run, exchange.break_off, subject, limit_seconds)
        except CredentialsFault as fault:
            raise fault.about(subject) from fault

    async def batch(
        self,
        method: str,
        small: Sequence[tuple[str, SmallRequest]],
        headers: Mapping[str, str],
        subject: Subject,
        limit_seconds: float,
        *,
        lanes: int,
        trailer: bool = False,
    ) -> None:
        """Do many small requests, by their paths, each as far as it goes without trouble, with so many under way at a time (see `Batch`);
        the headers are of all of them.

        Raises port errors for missing credentials. Cancelled: as `perform`."""
        address = self._known

        def prepare() -> Iterator[tuple[SmallRequest, Head]]:
            heads = self._heads(address, method, headers, trailer=trailer)
            for path, request in small:
                yield request, partial(heads.of, path)

        batch = Batch(self._connections, address.place, prepare, lanes=lanes)

        def break_off() -> bool:
            batch.break_off()
            return True

        try:
            await self._ended(batch.run, break_off, subject, limit_seconds)
        except CredentialsFault as fault:
            raise fault.about(subject) from fault
        except StoreUnavailable:
            return  # some may have been done

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

    def _heads(self, address: WireAddress, method: str, headers: Mapping[str, str], *, trailer: bool) -> RequestHeads:
        """Raises CredentialsFault where there are no credentials; in a thread: they may have to be fetched."""
        signer = self._signer(address, method, headers, trailer=trailer)
        if address.to_proxy is None:
            return RequestHeads(method, signer)
        return RequestHeads(method, signer, to_proxy=address.url(""), beside=address.to_proxy)

    def _signer(self, address: WireAddress, method: str, headers: Mapping[str, str], *, trailer: bool) -> PathSigner:
        """One that was made lately for the same, or a new one. Raises as `_heads`."""
        credentials = self._access.identity.frozen()
        alike = _Alike(address, method, tuple(headers.items()), trailer, credentials)
        now = time.time()
        if (known := self._signers.get(alike)) is not None and abs(now - known[0]) < _SIGNER_SECONDS:
            return known[1]
        payload = UNSIGNED_WITH_TRAILER if trailer else UNSIGNED
        signed = {"host": address.host, **headers}
        signer = PathSigner(method, signed, credentials=credentials, region=address.route.region, payload=payload)
        if len(self._signers) >= _SIGNERS_KEPT:
            self._signers = {}
        self._signers[alike] = (now, signer)
        return signer
