"""A few threads for blocking calls that never hold up the end of the process.

The standard executor joins its threads at exit, so one request that hangs would keep a process alive whose deadline has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
_AGAIN_SECONDS = 0.5
_IDLE_SECONDS = 30.0


class _Job(NamedTuple):
    """`promised`, of that loop, is cancelled where nobody wants the call any more."""

    loop: asyncio.AbstractEventLoop
    promised: asyncio.Future[Any]
    call: Callable[[], Any]

    def do(self) -> None:
        """In a thread. What comes of it is the caller's, who gets it from the future."""
        if self.promised.cancelled():
            return
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            failure = RuntimeError("a call ended with StopIteration") if isinstance(error, StopIteration) else error  # a future takes none
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(_keep, self.promised, result, failure)
        del failure  # whose traceback holds this frame


def _keep(promised: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if promised.done():
        return
    if failure is None:
        promised.set_result(result)
    else:
        promised.set_exception(failure)


class DaemonThreads:
    """At most `limit` threads, started when they are needed; one that was idle for `idle_seconds` ends, and with it what it holds."""

    def __init__(self, name: str, limit: int, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._name, self._limit = name, limit
        self._idle_seconds = idle_seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._spare = 0
        """Threads that are not at work, less the jobs that none has taken yet."""

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result. Cancelled: a call that has not begun never will; one that has goes on unheard."""
        return await self.start(call)

    def start(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The same as a future of the running loop; cancelling it is cancelling the call."""
        loop = asyncio.get_running_loop()
        promised: asyncio.Future[T] = loop.create_future()
        with self._lock:
            self._spare -= 1
            lacking = self._spare < 0
        self._jobs.put(_Job(loop, promised, call))
        if lacking:
            self._grow()
        return promised

    def _grow(self) -> None:
        if len(self._threads) >= self._limit:
            return
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        with self._lock:
            try:
                thread.start()
            except RuntimeError:  # a limit of this container or user: the call, whose file may be closed if we raised, waits for a thread
                if not self._threads:
                    asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._grow)
                return
            self._threads.append(thread)
            self._spare += 1

    def close(self) -> list[threading.Thread]:
        """Let every thread end after its present call; returns those still alive, which die with the process."""
        for _ in self._threads:
            self._jobs.put(None)
        return [thread for thread in self._threads if thread.is_alive()]

    def _work(self) -> None:
        while job := self._next():
            job.do()
            del job
            with self._lock:
                self._spare += 1

    def _next(self) -> _Job | None:
        """None when this thread is to end."""
        while True:
            try:
                return self._jobs.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._lock:
                    if self._spare > 0:  # else a job was put meanwhile that counts on us
                        self._spare -= 1
                        self._threads.remove(threading.current_thread())
                        return None
