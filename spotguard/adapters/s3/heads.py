"""Heads of requests that are alike but for their path and their body: what they have in common is written once."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.adapters.s3.signing import PathSigner


class RequestHeads:
    def __init__(self, method: str, signer: PathSigner, *, to_proxy: str = "", beside: Mapping[str, str] | None = None) -> None:
        """`to_proxy`: what a plain proxy wants before the path. `beside`: headers that are not signed."""
        self._signer = signer
        self._before = f"{method} {to_proxy}"
        self._after = " HTTP/1.1\r\n" + _lines({**signer.headers, **(beside or {})})

    def of(self, path: str, size: int, beside: Mapping[str, str]) -> bytes:
        """For this path, percent-encoded, and a body of so many bytes; `beside`: headers that are not signed."""
        return f"{self._before}{path}{self._after}{_lines(beside)}{_lines(self._signer.own(path, size))}\r\n".encode()


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
