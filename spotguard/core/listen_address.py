"""Where the daemon's HTTP surface listens, and where a client finds it: `HOST:PORT` or `unix:/path`."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

_WANTED = "write HOST:PORT, [IPV6]:PORT or unix:/path"
_SOCKET_PATH_BYTES = 107  # sun_path of Linux has 108, one of them for the final NUL


class TcpAddress(NamedTuple):
    host: str
    """A name or an address; IPv6 without brackets."""
    port: int
    """0: the system picks one."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def for_client(self) -> TcpAddress:
        """The address to connect to: a wildcard address is reached at loopback."""
        return TcpAddress({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    path: str

    @property
    def is_local(self) -> bool:
        return True

    def __str__(self) -> str:
        return f"unix:{self.path}"


ListenAddress = TcpAddress | UnixAddress


def parse_listen_address(text: str) -> ListenAddress:
    """The address that `http.listen` names. Raises ValueError with what is wrong and what to write."""
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets: {_WANTED}")
    if not colon or not host or any(mark.isspace() or mark in "/@[]" for mark in host):
        raise ValueError(f"is not an address: {_WANTED}")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("the port must be a number from 0 to 65535")
    return TcpAddress(host, int(port))


def is_loopback(host: str) -> bool:
    """Whether this host, without brackets, is `localhost` or a loopback address by itself. Any other name may resolve to anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unix(path: str) -> UnixAddress:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise ValueError("the path of a unix socket must be absolute: write unix:/run/spotguard/http.sock")
    if len(path.encode(errors="surrogateescape")) > _SOCKET_PATH_BYTES:
        raise ValueError(f"the path of a unix socket must be at most {_SOCKET_PATH_BYTES} bytes long")
    return UnixAddress(path)
