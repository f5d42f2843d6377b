"""The head of a request that is not signed."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.adapters.wire.head import header_lines


def request_head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Raises UnfitForHead, UnicodeEncodeError."""
    return f"{method} {path} HTTP/1.1\r\n{header_lines(headers)}\r\n".encode("latin-1")
