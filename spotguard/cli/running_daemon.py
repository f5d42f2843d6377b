"""The running daemon that a command asks: the one at `http.listen`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from spotguard.cli.errors import CommandFailed
from spotguard.cli.options import Invocation
from spotguard.core.exit_status import ExitStatus

if TYPE_CHECKING:
    from spotguard.adapters.http.daemon_client import DaemonClient


@asynccontextmanager
async def running_daemon(invocation: Invocation) -> AsyncIterator[DaemonClient]:
    """Nothing is asked yet. Raises CommandFailed where the daemon can not be asked at all."""
    from spotguard.adapters.http.daemon_client import connect_daemon

    http = invocation.config.http
    if http.listen is None:
        raise CommandFailed(
            "http.listen is null, so the daemon can not be asked", "give it an address such as 127.0.0.1:9477", ExitStatus.UNREACHABLE
        )
    async with connect_daemon(http.listen, http.token_text) as daemon:
        yield daemon
