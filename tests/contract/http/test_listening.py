"""Where it listens: a port that is taken, a unix socket, an end that does not wait."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from spotguard.adapters.http.server import serve_http
from tests.contract.http.fake_control import FakeControl


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


async def test_a_taken_port_is_reported_and_had_as_soon_as_it_is_free(control: FakeControl, taken: socket.socket) -> None:
    reasons: list[str] = []
    served = asyncio.Event()
    port = taken.getsockname()[1]
    async with serve_http(f"127.0.0.1:{port}", control, None, reasons.append, on_served=served.set, retry_seconds=0.01) as server:
        assert server.address is None
        assert len(reasons) == 1
        assert f"127.0.0.1:{port}" in reasons[0]
        taken.close()
        async with asyncio.timeout(10):
            await served.wait()
        async with aiohttp.ClientSession(f"http://{server.address}") as session, session.get("/healthz") as response:
            assert response.status == 200


async def test_a_port_that_stays_taken_is_no_error_at_the_end(control: FakeControl, taken: socket.socket) -> None:
    reasons: list[str] = []
    async with serve_http(f"127.0.0.1:{taken.getsockname()[1]}", control, None, reasons.append):
        pass
    assert len(reasons) == 1


async def test_the_end_does_not_wait_for_long_polls(control: FakeControl) -> None:
    loop = asyncio.get_running_loop()
    async with serve_http("127.0.0.1:0", control, None, lambda reason: None) as server:
        session = aiohttp.ClientSession(f"http://{server.address}")
        polling = asyncio.create_task(session.get("/interruption?wait=300"))
        await control.polls.until(lambda polls: polls == 1)
        ending = loop.time()
    assert loop.time() - ending < 10  # one second and what a loaded machine adds; aiohttp by itself waits 60
    with pytest.raises(aiohttp.ClientError):
        await polling
    await session.close()


async def test_a_client_that_goes_away_is_not_waited_for(control: FakeControl) -> None:
    gone = asyncio.Event()

    async def interruption(wait_seconds: float) -> None:
        control.polls.publish(1)
        try:
            await asyncio.sleep(wait_seconds)
        finally:
            gone.set()

    control.interruption = interruption  # type: ignore[method-assign]
    async with serve_http("127.0.0.1:0", control, None, lambda reason: None) as server:
        assert server.address
        _, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
        writer.write(b"GET /interruption?wait=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await control.polls.until(lambda polls: polls == 1)
        writer.close()
        async with asyncio.timeout(10):
            await gone.wait()


def over(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(path=str(path)))


async def test_a_unix_socket_serves_group_and_owner_and_is_removed(control: FakeControl, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serve_http(f"unix:{path}", control, None, lambda reason: None):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with over(path) as session:
            async with session.get("/status", headers={"Host": "anything.example"}) as response:
                assert response.status == 200
            async with session.post("/flush") as response:
                assert response.status == 403
            async with session.post("/flush", headers={"X-Spotguard": "1"}) as response:
                assert response.status == 200
    assert not path.exists()


async def test_a_stale_socket_is_replaced(control: FakeControl, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serve_http(f"unix:{path}", control, None, lambda reason: None), over(path) as session, session.get("/healthz") as response:
        assert response.status == 200


async def test_a_socket_that_somebody_answers_is_left_alone(control: FakeControl, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    reasons: list[str] = []
    async with serve_http(f"unix:{path}", control, None, reasons.append):
        async with serve_http(f"unix:{path}", FakeControl(), None, reasons.append):
            assert len(reasons) == 1
        async with over(path) as session, session.get("/healthz") as response:
            assert response.status == 200


async def test_a_file_that_is_no_socket_is_never_removed(control: FakeControl, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    reasons: list[str] = []
    async with serve_http(f"unix:{path}", control, None, reasons.append):
        assert "no socket" in reasons[0]
    assert path.read_text() == "mine"


async def test_a_socket_of_a_successor_survives_our_end(control: FakeControl, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serve_http(f"unix:{path}", control, None, lambda reason: None):
        os.unlink(path)
        path.write_text("the successor's")
    assert path.exists()
