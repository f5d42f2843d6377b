"""Requests that files wait for, those that move their bytes and those that begin an upload: our own HTTP exchange, where boto3 found that
the store is.

Why not the S3 client of the AWS CRT: it copies every body into buffers of its own, and a second time into its frames. Measured side by
side on two cores (benchmarks/): the same parts leave at more than twice the throughput, for half the CPU and an eighth of the memory.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from spotguard.adapters.daemon_threads import DaemonThreads, Work
from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.address import WireAddress
from spotguard.adapters.s3.credentials import CredentialsFault
from spotguard.adapters.s3.environment import SigningKeys
from spotguard.adapters.s3.errors import Subject
from spotguard.adapters.s3.heads import RequestHeads
from spotguard.adapters.wire.batch import Batch, Head, SmallRequest
from spotguard.adapters.wire.body import Body, FileSink
from spotguard.adapters.wire.connections import Connections
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.adapters.wire.head import UnfitForHead
from spotguard.adapters.wire.proxy import proxy_for
from spotguard.ports.object_store import StoreUnavailable

T = TypeVar("T")

_HEADS_SECONDS = 60.0
"""S3 takes a signature for a quarter of an hour. By the wall clock: a machine may have slept."""
_HEADS_KEPT = 8
"""Of each run's metadata and each way of sending; what is met once a day is no loss."""
_LANES = 24
"""All in one thread. Several threads would hand the interpreter's lock on at each of ten system calls for a file: of three with eight
connections each the machine spent a third of its time on changing from one to another."""
_PATIENT_THREADS = 16
"""For requests that may take minutes, which keep no other waiting: parts and uploads that begin have little time."""
_END_SECONDS = 5.0
"""A request that is broken off ends in milliseconds, unless the disk hangs under it."""


class _Alike(NamedTuple):
    """What requests have in common whose heads are."""

    address: WireAddress
    method: str
    headers: tuple[tuple[str, str], ...]
    trailer: bool
    credentials: SigningKeys


class StoreWire:
    """At most four times as many threads as the settings allow connections, half of them for bodies that are sent; each has one request
    under way, or a batch."""

    def __init__(self, access: S3Access, stall_seconds: float) -> None:
        self._access = access
        self._connections = Connections(stall_seconds)
        self.pacing = self._connections.pacing
        self._threads = DaemonThreads("spotguard-wire", 2 * access.settings.connections)
        self._sending_threads = DaemonThreads("spotguard-send", 2 * access.settings.connections, at_once=_sent_at_once())
        self._patient_threads = DaemonThreads("spotguard-patient", _PATIENT_THREADS)
        self._address: WireAddress | None = None
        self._known_heads: dict[_Alike, tuple[float, RequestHeads]] = {}
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
    def endpoint(self) -> str:
        """The URL that requests go to."""
        return self._known.url("")

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
        body: Body | None = None,
        sink: FileSink | None = None,
        trailer: bool = False,
        patience_seconds: float | None = None,
    ) -> Answer:
        """Send a request and wait for its end, at most `limit_seconds`; then it is broken off and StoreUnavailable raised.

        `headers`, without the host, are signed; `beside` are not. `patience_seconds`: how long nothing may move, if longer than on others.
        Raises port errors for missing credentials. Cancelled: it is broken off,
        and has ended when this raises, so that the file may be closed; the store may have done it."""
        address = self._known

        def prepare() -> WireRequest:
            heads = self._heads(address, method, headers, trailer=trailer)
            return WireRequest(method, heads.of(path, 0 if body is None else body.size, beside or {}), body, sink, patience_seconds)

        threads = self._threads if body is None else self._sending_threads
        if patience_seconds is not None:
            threads = self._patient_threads
        exchange = Exchange(self._connections, address.place, prepare, threads.give_way)
        try:
            return await self._ended(threads.start(exchange.run), exchange.break_off, subject, limit_seconds)
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
        trailer: bool = False,
    ) -> None:
        """Do many small requests, by their paths, each as far as it goes without trouble (see `Batch`); the headers are of all of them.

        Raises port errors for missing credentials. Cancelled: as `perform`."""
        address = self._known

        def prepare() -> Iterator[tuple[SmallRequest, Head]]:
            heads = self._heads(address, method, headers, trailer=trailer)
            for path, request in small:
                yield request, partial(heads.of, path)

        batch = Batch(self._connections, address.place, prepare, most_lanes=min(_LANES, 4 * self._access.settings.connections))

        def break_off() -> bool:
            batch.break_off()
            return True

        try:
            await self._ended(self._threads.start(batch.run), break_off, subject, limit_seconds)
        except CredentialsFault as fault:
            raise fault.about(subject) from fault
        except (StoreUnavailable, UnfitForHead):
            return  # some may have been done

    async def _ended(self, work: Work[T], break_off: Callable[[], bool], subject: Subject, limit_seconds: float) -> T:
        """What the work comes to. Raises StoreUnavailable after `limit_seconds`. When this raises, also for a cancellation, it has
        been broken off and has ended; `break_off` says whether that needs waiting for."""

        def give_up() -> None:
            if not work.promised.done():
                text = f"{subject}: no answer within {limit_seconds:.0f} s"
                work.promised.set_exception(StoreUnavailable(text, "nothing if it passes: it is tried again"))

        timer = asyncio.get_running_loop().call_later(limit_seconds, give_up)
        try:
            return await work.promised
        finally:
            timer.cancel()
            if not work.ended and break_off():
                await work.end(_END_SECONDS)

    async def close(self) -> None:
        """Close idle connections and let the threads end; every request must have ended before."""
        self._threads.close()
        self._sending_threads.close()
        self._patient_threads.close()
        self._connections.close()

    def _heads(self, address: WireAddress, method: str, headers: Mapping[str, str], *, trailer: bool) -> RequestHeads:
        """Those that were made lately for the same, or new ones. In a thread: credentials may have to be fetched.

        Raises CredentialsFault where there are none, UnfitForHead."""
        credentials = self._access.identity.frozen()
        alike = _Alike(address, method, tuple(headers.items()), trailer, credentials)
        now = time.time()
        if (known := self._known_heads.get(alike)) is not None and abs(now - known[0]) < _HEADS_SECONDS:
            return known[1]
        heads = RequestHeads(address, method, headers, credentials, trailer=trailer)
        if len(self._known_heads) >= _HEADS_KEPT:
            self._known_heads = {}
        self._known_heads[alike] = (now, heads)
        return heads


def _sent_at_once() -> int:
    """Bodies that none has to wait for: one for each processor, since more of them only fight for the interpreter's lock and the cache, and
    two on one, of which one may wait for a moment."""
    return max(2, len(os.sched_getaffinity(0)))
