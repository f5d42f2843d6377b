"""What `http.listen` says: `HOST:PORT` or `unix:/path`. Shared by the server and the client of the local interface."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenAddress:
    host: str = ""
    """Without brackets; empty for a unix socket."""
    port: int = 0
    path: str | None = None
    """Of the unix socket."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.path is not None or is_loopback(self.host)

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(listen: str) -> ListenAddress:
    """Raises ValueError for what is neither `HOST:PORT` nor `unix:/path`."""
    if listen.startswith("unix:"):
        path = listen.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{listen!r}: unix: needs an absolute path, like unix:/run/spotguard/http.sock")
        return ListenAddress(path=path)
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{listen!r} is not HOST:PORT (like 127.0.0.1:9477) or unix:/path")
    return ListenAddress(host, int(port))


def is_loopback(host: str) -> bool:
    """Whether this host, without brackets, is `localhost` or a loopback address by itself. No name is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
