"""Heads of requests that are alike but for their path and their body: what they have in common is written and signed once."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.adapters.s3.address import WireAddress
from spotguard.adapters.s3.environment import SigningKeys
from spotguard.adapters.s3.signing import UNSIGNED, UNSIGNED_WITH_TRAILER, PathSigner
from spotguard.adapters.wire.aws_chunked import TRAILER_HEADERS
from spotguard.adapters.wire.head import header_lines


class RequestHeads:
    def __init__(
        self, address: WireAddress, method: str, headers: Mapping[str, str], credentials: SigningKeys, *, trailer: bool = False
    ) -> None:
        """`headers`, without the host, are signed. `trailer`: bodies are sent as `aws-chunked`. Raises UnfitForHead."""
        payload = UNSIGNED_WITH_TRAILER if trailer else UNSIGNED
        signed = {"host": address.host, **headers, **(TRAILER_HEADERS if trailer else {})}
        self._signer = PathSigner(method, signed, credentials=credentials, region=address.route.region, payload=payload)
        to_proxy = address.to_proxy
        self._before = f"{method} {'' if to_proxy is None else address.url('')}"  # of which a plain proxy is asked for the whole URL
        self._after = " HTTP/1.1\r\n" + header_lines({**self._signer.headers, **(to_proxy or {})})

    def of(self, path: str, size: int, beside: Mapping[str, str]) -> bytes:
        """For this path, percent-encoded and perhaps with a query, and a body of so many bytes; `beside`: headers that are not signed.

        Raises UnfitForHead, UnicodeEncodeError."""
        own = {**beside, **self._signer.own(path, size)}
        return f"{self._before}{path}{self._after}{header_lines(own)}\r\n".encode("latin-1")
