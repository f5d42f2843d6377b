"""The CRT's S3 client for one bucket: made when it is first needed, for the region and endpoint that boto3 found.

A client of its own per connection: the CRT's endpoint cache knows hosts and not ports, so two loopback stores in one process
must not share one.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsConnectionOptions, TlsContextOptions
from awscrt.s3 import S3Client, S3RequestTlsMode, S3RetryConfig, create_default_s3_signing_config
from botocore.httpsession import where

from spotguard.adapters.s3_access import Route, S3Access
from spotguard.adapters.s3_errors import Subject

PIECE_BYTES = 16 << 20
"""What one GET asks for; the CRT would cut a larger one into several."""
_THREADS = 2
_MEMORY_BYTES = 1 << 30  # a ceiling on the CRT's buffers; what is used is bounded by the requests under way
_THROUGHPUT_GBPS = 10.0
_SHUTDOWN_SECONDS = 1.0
"""The CRT keeps a connection whose request was cancelled until the peer closes it; that is not waited for."""


class CrtClient:
    """Where requests go and what sends them."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._route: Route | None = None
        self._client: S3Client | None = None
        self._group: EventLoopGroup | None = None

    async def ready(self, subject: Subject) -> S3Client:
        """The client for the present route. Raises port errors."""
        route = await self._access.route(subject)
        if self._client is None or self._route is None or (route.region, route.endpoint) != (self._route.region, self._route.endpoint):
            self._client = self._make(route)
        self._route = route
        return self._client

    @property
    def custom_endpoint(self) -> bool:
        return self._route is not None and self._route.path_style and ".amazonaws." not in self._route.endpoint

    @property
    def port(self) -> int | None:
        """Of the endpoint; None before the first `ready`."""
        if self._route is None:
            return None
        return urlsplit(self._route.endpoint).port or (443 if self._route.secure else 80)

    @property
    def host(self) -> str:
        """The `Host` header, with the port unless it is the scheme's."""
        assert self._route is not None
        host = urlsplit(self._route.endpoint).netloc
        return host if self._route.path_style else f"{self._access.settings.bucket}.{host}"

    def path(self, key: str, query: str = "") -> str:
        """Percent-encoded as SigV4 wants it: the CRT neither encodes nor normalises it."""
        assert self._route is not None
        bucket = f"/{self._access.settings.bucket}" if self._route.path_style else ""
        return f"{bucket}/{quote(key, safe='/-_.~')}{'?' if query else ''}{query}"

    async def close(self) -> None:
        """Let the client and its threads end, or at least go on ending by themselves; requests must have ended before."""
        events = [made.shutdown_event for made in (self._client, self._group) if made is not None]
        self._client = self._group = None
        for seconds in (0.05, _SHUTDOWN_SECONDS):
            if await asyncio.to_thread(_all_set, events, seconds):
                return
            gc.collect()  # a failure's traceback, caught in a cycle somewhere, still holds the client

    def _make(self, route: Route) -> S3Client:
        if self._group is None:
            self._group = EventLoopGroup(_THREADS)
        signing = create_default_s3_signing_config(region=route.region, credential_provider=self._access.identity.crt_provider())
        return S3Client(
            bootstrap=ClientBootstrap(self._group, DefaultHostResolver(self._group)),
            region=route.region,
            tls_mode=S3RequestTlsMode.ENABLED if route.secure else S3RequestTlsMode.DISABLED,
            tls_connection_options=_tls(route) if route.secure else None,
            signing_config=signing,
            part_size=PIECE_BYTES,
            throughput_target_gbps=_THROUGHPUT_GBPS,
            memory_limit=_MEMORY_BYTES,
            connect_timeout_ms=5000,
            retry_config=S3RetryConfig(max_retries=1, backoff_scale_factor_ms=50, max_backoff_secs=1),
        )


def _all_set(events: Sequence[threading.Event], seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    return all(event.wait(max(0.0, give_up - time.monotonic())) for event in events)


def _tls(route: Route) -> TlsConnectionOptions:
    """Trusts what boto3 trusts: AWS_CA_BUNDLE or the like, else the bundle it comes with (a slim image has no other)."""
    options = TlsContextOptions()
    options.override_default_trust_store_from_path(None, route.ca_bundle or where())
    return ClientTlsContext(options).new_connection_options()
