"""Where a bucket is on the wire: the host and paths of its requests, and how they are signed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlsplit

from spotguard.adapters.s3.route import Route
from spotguard.adapters.wire.connections import Place
from spotguard.adapters.wire.proxy import Proxy


@dataclass(frozen=True)
class WireAddress:
    """Without slots, so that what every request asks is found out once."""

    route: Route
    bucket: str
    proxy: Proxy | None

    @cached_property
    def host(self) -> str:
        """The `Host` header, with the port unless it is the scheme's."""
        host = urlsplit(self.route.endpoint).netloc
        return host if self.route.path_style else f"{self.bucket}.{host}"

    @cached_property
    def port(self) -> int:
        """Of the endpoint."""
        return urlsplit(self.route.endpoint).port or (443 if self.route.secure else 80)

    @cached_property
    def place(self) -> Place:
        """Where connections lead, and what they trust."""
        host = urlsplit(f"//{self.host}").hostname or ""
        return Place(host, self.port, (self.route.ca_bundle or _boto_bundle()) if self.route.secure else None, self.proxy)

    def path(self, key: str, query: str = "") -> str:
        """Percent-encoded as Signature Version 4 wants it. Without a key: of the bucket."""
        below = f"/{quote(key, safe='/-_.~')}" if key or not self._bucket_path else ""
        return f"{self._bucket_path}{below}{'?' if query else ''}{query}"

    @cached_property
    def _bucket_path(self) -> str:
        before = urlsplit(self.route.endpoint).path.rstrip("/")  # of a gateway that has its S3 below a path
        return f"{before}/{self.bucket}" if self.route.path_style else before

    def url(self, path: str) -> str:
        return f"{'https' if self.route.secure else 'http'}://{self.host}{path}"

    @property
    def to_proxy(self) -> Mapping[str, str] | None:
        """The headers for a proxy that is asked for the whole URL; None where the path alone is asked for."""
        return None if self.proxy is None or self.route.secure else self.proxy.headers


def _boto_bundle() -> str:
    """What boto3 trusts where no AWS_CA_BUNDLE or profile names another: REQUESTS_CA_BUNDLE, else what comes with it (a slim image has no
    other), certifi's where that is installed, else botocore's own. As its module for HTTP chooses, which takes long to load."""
    if named := os.environ.get("REQUESTS_CA_BUNDLE"):
        return named
    try:
        from certifi import where
    except ImportError:
        import botocore

        return os.path.join(os.path.dirname(botocore.__file__), "cacert.pem")
    return where()
