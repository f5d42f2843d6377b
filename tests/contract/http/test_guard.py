"""Who may ask what."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from spotguard.adapters.http.guard import BODY_LIMIT_BYTES, GuardRules
from spotguard.adapters.http.server import serve_http
from spotguard.core.listen_address import parse_listen_address
from tests.contract.http.fake_control import FakeControl

POSTS = ["/flush", "/drill", "/checkpoints/sft/checkpoint-100/complete"]
GETS = ["/status", "/metrics", "/checkpoints", "/interruption", "/openapi.json"]


@pytest.mark.parametrize("path", POSTS)
async def test_a_post_without_the_header_is_refused_and_changes_nothing(
    local: aiohttp.ClientSession, control: FakeControl, path: str
) -> None:
    for headers in ({}, {"X-Spotguard": "0"}, {"Authorization": "Bearer geheim"}):
        async with local.post(path, headers=headers) as response:
            assert response.status == 403
            assert "X-Spotguard: 1" in (await response.json())["error"]
    assert (control.flush_waits, control.drills, control.declared) == ([], [], [])


@pytest.mark.parametrize("path", POSTS)
async def test_with_a_token_the_header_alone_is_not_enough(guarded: aiohttp.ClientSession, control: FakeControl, path: str) -> None:
    async with guarded.post(path, headers={"X-Spotguard": "1"}) as response:
        assert response.status == 401
    async with guarded.post(path, headers={"Authorization": "Bearer geheim"}) as response:
        assert response.status in (200, 202)


@pytest.mark.parametrize("path", [*GETS, "/nothing"])
@pytest.mark.parametrize("given", [None, "Bearer falsch", "Bearer geheimer", "Bearer ", "Basic geheim", "geheim", "Bearer gehei\udcff"])
async def test_with_a_token_every_read_needs_it(guarded: aiohttp.ClientSession, path: str, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with guarded.get(path, headers=headers) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert set(await response.json()) == {"error"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_token(guarded: aiohttp.ClientSession, path: str) -> None:
    async with guarded.get(path) as response:
        assert response.status == 200


async def test_the_right_token_opens(guarded: aiohttp.ClientSession) -> None:
    for scheme in ("Bearer", "bearer"):
        async with guarded.get("/status", headers={"Authorization": f"{scheme} geheim"}) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:9477", "localhost.evil.example", "127.0.0.1.evil.example", "169.254.169.254", "0.0.0.0", "[::2]",
        "[::1", "10.0.0.1:80", "", "localhost:80x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/status", "/healthz", "/flush"])
async def test_a_foreign_host_is_refused(local: aiohttp.ClientSession, control: FakeControl, host: str, path: str) -> None:
    method = "POST" if path == "/flush" else "GET"
    async with local.request(method, path, headers={"Host": host, "X-Spotguard": "1"}) as response:
        assert response.status == 403
        assert "Host" in (await response.json())["error"]
    assert control.flush_waits == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9477", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:9477"])
async def test_our_own_names_pass(local: aiohttp.ClientSession, host: str) -> None:
    async with local.get("/status", headers={"Host": host}) as response:
        assert response.status == 200


async def test_a_foreign_host_is_refused_even_with_the_token(guarded: aiohttp.ClientSession) -> None:
    async with guarded.get("/status", headers={"Host": "evil.example", "Authorization": "Bearer geheim"}) as response:
        assert response.status == 403


async def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(local: aiohttp.ClientSession, control: FakeControl) -> None:
    async def chunks() -> object:
        for _ in range(64):
            yield b"x" * 1024

    for body in (b"x" * (BODY_LIMIT_BYTES + 1), chunks()):
        async with local.post("/flush", data=body, headers={"X-Spotguard": "1"}) as response:
            assert response.status == 413
            assert set(await response.json()) == {"error"}
    assert control.flush_waits == []


async def test_a_body_within_the_limit_is_accepted(local: aiohttp.ClientSession, control: FakeControl) -> None:
    async with local.post("/flush", json={"anything": 1}, headers={"X-Spotguard": "1"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("listen", ["0.0.0.0:9477", "[::]:9477", "10.0.0.1:80", "example.org:80"])
def test_an_address_others_can_reach_needs_a_token(listen: str) -> None:
    with pytest.raises(ValueError, match=r"http\.token"):
        GuardRules.of(parse_listen_address(listen), None)
    assert GuardRules.of(parse_listen_address(listen), "geheim").checks_host is False


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", ":9477", "127.0.0.1:70000", "unix:relative", "a:b", "localhost:²"])
async def test_an_address_that_is_none_is_refused(control: FakeControl, listen: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|absolute|port"):
        async with serve_http(listen, control, None, lambda reason: None):
            pass


async def test_a_slow_client_keeps_nobody_waiting(control: FakeControl) -> None:
    async with serve_http("127.0.0.1:0", control, None, lambda reason: None) as server:
        assert server.address
        slow = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
            writer.write(b"POST /flush HTTP/1.1\r\nHost: localhost\r\nX-Spotguard: 1\r\nContent-Length: 100\r\n\r\nhalf")
            slow.append((reader, writer))
        async with aiohttp.ClientSession(f"http://{server.address}") as session, asyncio.timeout(5):
            for _ in range(20):
                async with session.get("/status") as response:
                    assert response.status == 200
        for _, writer in slow:
            writer.close()
            await writer.wait_closed()
    assert control.flush_waits == []
