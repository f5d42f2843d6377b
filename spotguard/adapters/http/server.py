"""Listens for the local HTTP interface: on TCP or a unix socket, and goes on without one when the address is taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from spotguard.adapters.http.guard import GuardRules
from spotguard.adapters.http.routes import application
from spotguard.core.listen_address import ListenAddress, TcpAddress, UnixAddress, parse_listen_address
from spotguard.ports.daemon_control import DaemonControl

RETRY_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 1.0
"""How long requests that are under way may take at the end; aiohttp's own default of 60 s would outlast the instance."""


class LocalServer:
    """Where it listens, for whoever started it."""

    def __init__(self, runner: web.AppRunner, address: ListenAddress) -> None:
        self._runner = runner
        self.wanted = address
        self._socket_identity: tuple[int, int] | None = None
        self.address: ListenAddress | None = None
        """None as long as the wanted address is taken; with port 0 the real port."""

    async def listen(self) -> None:
        """Raises OSError when the address can not be had."""
        if isinstance(self.wanted, UnixAddress):
            await self._listen_unix(self.wanted.path)
            self.address = self.wanted
        else:
            site = web.TCPSite(self._runner, self.wanted.host, self.wanted.port)
            try:
                await site.start()
            except BaseException:
                await site.stop()  # it stays registered with its runner otherwise
                raise
            self.address = TcpAddress(self.wanted.host, self._runner.addresses[0][1])

    async def _listen_unix(self, path: str) -> None:
        await _remove_stale_socket(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            os.chmod(path, 0o660)  # nobody can connect before it listens, so there is no moment with another mode
            found = os.stat(path)
            site = web.SockSite(self._runner, sock)
            await site.start()
        except BaseException:
            sock.close()
            raise
        self._socket_identity = (found.st_dev, found.st_ino)

    def remove_socket(self) -> None:
        """Remove the socket file if it is still the one that we made."""
        if not isinstance(self.wanted, UnixAddress) or self._socket_identity is None:
            return
        with contextlib.suppress(OSError):
            found = os.stat(self.wanted.path)
            if (found.st_dev, found.st_ino) == self._socket_identity:
                os.unlink(self.wanted.path)


@asynccontextmanager
async def serve_http(
    listen: str,
    control: DaemonControl,
    token: str | None,
    on_taken: Callable[[str], None],
    *,
    on_served: Callable[[], None] = lambda: None,
    retry_seconds: float = RETRY_SECONDS,
) -> AsyncIterator[LocalServer]:
    """Answer at `listen` (`HOST:PORT` or `unix:/path`) as long as the context lasts.

    An address that can not be had is no error: `on_taken` hears why, each time, and it is tried again every `retry_seconds`;
    `on_served` is called when it listens. At the end requests under way get one second; the socket file is removed.
    Raises ValueError for an address that is none, or that others can reach and no token guards."""
    address = parse_listen_address(listen)
    app = application(control, GuardRules.of(address, token))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True)
    await runner.setup()
    server = LocalServer(runner, address)
    retrying: asyncio.Task[None] | None = None
    try:
        if not await _attempt(server, on_taken, on_served):
            retrying = asyncio.create_task(_keep_trying(server, on_taken, on_served, retry_seconds), name="http-retry")
        yield server
    finally:
        if retrying is not None:
            retrying.cancel()
            await asyncio.gather(retrying, return_exceptions=True)
        await runner.cleanup()
        server.remove_socket()


async def _attempt(server: LocalServer, on_taken: Callable[[str], None], on_served: Callable[[], None]) -> bool:
    try:
        await server.listen()
    except OSError as error:
        on_taken(f"can not listen on {server.wanted}: {error.strerror or error}")
        return False
    on_served()
    return True


async def _keep_trying(server: LocalServer, on_taken: Callable[[str], None], on_served: Callable[[], None], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        if await _attempt(server, on_taken, on_served):
            return


async def _remove_stale_socket(path: str) -> None:
    """Remove a socket file that nobody answers at any more. Raises OSError when somebody does, or when it is no socket."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(0, f"{path} exists and is no socket")
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_unix_connection(path)
    except ConnectionRefusedError:
        os.unlink(path)
        return
    except TimeoutError as error:
        raise OSError(0, f"{path} is in use by a process that does not answer") from error
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    raise OSError(0, f"{path} is in use by another process")
