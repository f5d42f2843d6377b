"""The client that other commands ask a running daemon with."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from spotguard.adapters.http.daemon_client import connect_daemon
from spotguard.adapters.http.server import serve_http
from spotguard.core.rehearsal import Asks, Rehearsed, conclude
from spotguard.ports.daemon_control import DaemonRefused, NoDaemon
from tests.contract.http.conftest import refuse_taken
from tests.contract.http.fake_control import INTERRUPTION, FakeControl


@pytest.mark.parametrize("token", [None, "geheim"])
@pytest.mark.parametrize("over", ["tcp", "tcp6", "unix"])
async def test_it_gets_back_what_the_daemon_said(control: FakeControl, tmp_path: Path, token: str | None, over: str) -> None:
    control.notice.publish(INTERRUPTION)
    control.known = {"a b/50%/ü?#-1"}
    listen = {"unix": f"unix:{tmp_path}/s", "tcp": "127.0.0.1:0", "tcp6": "[::1]:0"}[over]
    async with serve_http(listen, control, token, refuse_taken) as server, connect_daemon(str(server.address), token) as daemon:
        assert await daemon.status() == control.status()
        assert (await daemon.health()).run == "s3://b/run1"
        assert await daemon.flush(3.0) == control.outcome
        await daemon.declare_complete("a b/50%/ü?#-1")
        await daemon.drill(10.0, asks=Asks.STOP, hooks=True)
        with pytest.raises(DaemonRefused, match="no drill has ended"):
            await daemon.drill_report(0.0)
        control.drilled = conclude(Rehearsed(Asks.SAVE, 115.0, "SIGUSR2", 0.04, 31.0, 58.0, "checkpoint-5", safe=True))
        assert await daemon.drill_report(1.0) == control.drilled
    assert (control.flush_waits, control.declared, control.drills) == ([3.0], ["a b/50%/ü?#-1"], [(10.0, Asks.STOP, True)])


async def test_a_wrong_token_is_told_from_no_daemon(control: FakeControl) -> None:
    async with (
        serve_http("127.0.0.1:0", control, "geheim", refuse_taken) as server,
        connect_daemon(str(server.address), "falsch") as daemon,
    ):
        with pytest.raises(DaemonRefused, match="Authorization") as refused:
            await daemon.status()
    assert refused.value.status == 401


async def test_an_unknown_checkpoint_is_refused_by_name(control: FakeControl) -> None:
    async with serve_http("127.0.0.1:0", control, None, refuse_taken) as server, connect_daemon(str(server.address), None) as daemon:
        with pytest.raises(DaemonRefused, match="checkpoint-7") as refused:
            await daemon.declare_complete("checkpoint-7")
    assert refused.value.status == 404


async def test_nobody_there_is_no_daemon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        free = sock.getsockname()[1]
    for listen in (f"127.0.0.1:{free}", f"unix:{tmp_path}/none"):
        async with connect_daemon(listen, None) as daemon:
            with pytest.raises(NoDaemon) as missing:
                await daemon.status()
            assert missing.value.fix


async def test_something_else_on_the_port_is_no_daemon() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with other, connect_daemon(f"127.0.0.1:{other.sockets[0].getsockname()[1]}", None) as daemon:
        with pytest.raises(NoDaemon, match="not this version"):
            await daemon.status()
