"""Our own requests go the way that boto3's go: through the proxy that the environment names."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from botocore.httpsession import where

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.adapters.wire.connections import Connections
from spotguard.adapters.wire.exchange import Answer, Exchange, WireRequest
from spotguard.adapters.wire.proxy import Proxy, proxy_for
from spotguard.ports.object_store import StoreRejected
from tests.support.request_head import request_head
from tests.unit.adapters.test_wire import OK, head_of, listening


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("http://proxy.corp:3128", Proxy("proxy.corp", 3128)),
        ("proxy.corp:3128", Proxy("proxy.corp", 3128)),
        ("http://me:p%40ss@proxy.corp", Proxy("proxy.corp", 80, "Basic bWU6cEBzcw==")),
    ],
)
def test_the_proxy_of_the_environment_is_found_but_for_what_it_excludes(monkeypatch: pytest.MonkeyPatch, named: str, found: Proxy) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    monkeypatch.setenv("NO_PROXY", "10.0.0.1,.internal")
    assert proxy_for("https://s3.eu-west-1.amazonaws.com") == found
    assert proxy_for("https://minio.internal:9000") is None
    assert proxy_for("http://minio.corp:9000") is None


def test_a_port_that_is_none_is_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy.corp:31x8")
    with pytest.raises(StoreRejected, match="the port in HTTPS_PROXY is no port") as refused:
        proxy_for("https://s3.eu-west-1.amazonaws.com")
    assert "hunter2" not in str(refused.value)


def test_an_encrypted_request_goes_through_a_tunnel() -> None:
    heard: list[bytes] = []

    def story(link: socket.socket) -> None:
        heard.append(head_of(link)[0])
        link.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        heard.append(link.recv(1 << 16))

    with listening(story) as place:
        connections = Connections(5.0)
        store = place._replace(host="bucket.example", port=443, ca_bundle=str(where()), proxy=Proxy(place.host, place.port, "Basic eA=="))
        answer = Exchange(connections, store, lambda: WireRequest("GET", request_head("GET", "/k", {"host": "bucket.example"}))).run()
        connections.close()
    assert heard[0].startswith(b"CONNECT bucket.example:443 HTTP/1.")
    assert b"\r\nProxy-Authorization: Basic eA==" in heard[0]
    assert heard[1][:2] == b"\x16\x03"  # a TLS handshake
    assert b"bucket.example" in heard[1]
    assert answer.error is not None


def test_a_plain_request_is_handed_to_the_proxy_with_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def story(link: socket.socket) -> None:
        heard.append(head_of(link)[0])
        link.sendall(OK)

    async def ask(proxy: str) -> Answer:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("HTTP_PROXY", proxy)
        access = S3Access(S3Settings("bucket", region="us-east-1", endpoint_url="http://store.example:9000"))
        wire = StoreWire(access, 5.0)
        await wire.ready(access.subject("read"))
        answer = await wire.perform("GET", wire.path("k"), {}, access.subject("read"), 5.0)
        await wire.close()
        access.close()
        return answer

    with listening(story) as place:
        answer = asyncio.run(ask(f"http://me:x@{place.host}:{place.port}"))
    assert answer.status == 200
    assert heard[0].startswith(b"GET http://store.example:9000/bucket/k HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic " in heard[0]
