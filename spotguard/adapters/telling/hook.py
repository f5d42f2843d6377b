"""Running one hook: a command of the operator's that hears of an event."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MOST_OUTPUT_BYTES = 2000
"""How much of a hook's output is kept; the rest is read and dropped, so that it cannot fill a pipe and stand still."""

_LAST_WORDS_SECONDS = 0.5
_REAP_SECONDS = 2.0
_NOT_FOR_HOOKS = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
"""What our service manager told us is not meant for what we start."""


@dataclass(frozen=True, slots=True)
class HookEnd:
    status: int | None
    """As `subprocess` has it, negative for a signal; None when the time limit ended it."""
    output: str
    """The beginning of both streams."""


async def run_hook(command: Sequence[str], event: str, payload: Mapping[str, Any], limit_seconds: float) -> HookEnd:
    """Run `command` without a shell, the payload as JSON on its standard input, `SPOTGUARD_EVENT` in its environment.

    On return, and on cancellation, the command has ended, with its whole process group if it had to be killed. What it left running
    in the background on purpose goes on. Raises OSError when it cannot be started."""
    process, output = await _start(command, event, payload)
    timed_out = False
    try:
        async with asyncio.timeout(limit_seconds):
            await process.wait()
    except TimeoutError:
        timed_out = True
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(TimeoutError):  # a process that waits for a dead disk cannot be killed
                async with asyncio.timeout(_REAP_SECONDS):
                    await process.wait()
        await output.finish()
    return HookEnd(None if timed_out else process.returncode, output.text)


async def _start(command: Sequence[str], event: str, payload: Mapping[str, Any]) -> tuple[asyncio.subprocess.Process, _Output]:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_HOOKS}
    environment["SPOTGUARD_EVENT"] = event
    source = _memory_file(json.dumps(dict(payload), ensure_ascii=False, default=str).encode() + b"\n")
    try:
        output = await _Output.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=source, stdout=output.write_end, stderr=output.write_end, start_new_session=True, env=environment
            )
        except BaseException:
            output.close()
            raise
        finally:
            os.close(output.write_end)
    finally:
        os.close(source)
    return process, output


def _memory_file(content: bytes) -> int:
    """A descriptor to read `content` from. Not a pipe: a hook that does not read it neither blocks us nor fails."""
    descriptor = os.memfd_create("spotguard-hook", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class _Output(asyncio.Protocol):
    """The reading end of a pipe of our own: a background child of the hook that keeps its end open does not keep us."""

    def __init__(self, write_end: int) -> None:
        self.write_end = write_end
        self._kept = bytearray()
        self._ended = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def open(cls) -> _Output:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        output = cls(write_end)
        output._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(read_end, "rb", 0))
        return output

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    def data_received(self, data: bytes) -> None:
        self._kept += data[: MOST_OUTPUT_BYTES - len(self._kept)]

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()

    async def finish(self) -> None:
        """Read what is still in the pipe, then close it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._ended.wait()
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
