"""`HOST:PORT` and `unix:/path`."""

from __future__ import annotations

import pytest

from spotguard.core.listen_address import TcpAddress, UnixAddress, parse_listen_address


@pytest.mark.parametrize("text", ["127.0.0.1:9477", "localhost:0", "[::1]:65535", "unix:/run/a b.sock"])
def test_an_address_reads_back_as_it_was_written(text: str) -> None:
    assert str(parse_listen_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":1",
        "host",
        "host:",
        "host:x",
        "host:65536",
        "host:-1",
        "::1:9",
        "[x]:1",
        "a b:1",
        "http://a:1",
        "unix:",
        "unix:a",
        "unix:/",
        "unix:/" + "x" * 107,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.9.9.9", True), ("::1", True), ("LocalHost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("box", False)]
)
def test_loopback_is_known_without_looking_a_name_up(host: str, loopback: bool) -> None:
    assert TcpAddress(host, 1).is_local is loopback


def test_a_client_reaches_a_wildcard_address_at_loopback() -> None:
    assert [str(TcpAddress(host, 1).for_client) for host in ("0.0.0.0", "::", "10.0.0.1")] == ["127.0.0.1:1", "[::1]:1", "10.0.0.1:1"]
    assert str(UnixAddress("/x")) == "unix:/x"
