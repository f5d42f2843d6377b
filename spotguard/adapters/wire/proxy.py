"""The proxy between us and the store: whatever boto3 finds in HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from spotguard.ports.object_store import StoreRejected


class Proxy(NamedTuple):
    host: str
    port: int
    authorization: str | None = None
    """The value of `Proxy-Authorization`, from a user and a password in the URL."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}


def proxy_for(endpoint: str) -> Proxy | None:
    """The proxy for requests to this URL; None where they go straight. Raises StoreRejected for a port that is none.

    The way to the proxy itself is plain, as it is nearly everywhere: what matters is encrypted from end to end inside."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # slow to load, and seldom needed

    parts = urlsplit(endpoint)
    named = getproxies().get(parts.scheme)
    if not named or proxy_bypass(parts.netloc):
        return None
    url = urlsplit(named if "://" in named else f"http://{named}")
    user = f"{unquote(url.username)}:{unquote(url.password or '')}" if url.username else None
    authorization = None if user is None else "Basic " + base64.b64encode(user.encode()).decode()
    try:
        return Proxy(url.hostname or "", url.port or 80, authorization)
    except ValueError as error:
        name = f"{parts.scheme.upper()}_PROXY"
        raise StoreRejected(f"cannot reach the store: the port in {name} is no port", f"correct {name}, or unset it") from error
