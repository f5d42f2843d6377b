"""A few threads for blocking calls that never hold up the end of the process.

The standard executor joins its threads at exit, so one request that hangs would keep a process alive whose deadline has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from spotguard.adapters.together import settled

T = TypeVar("T")
_AGAIN_SECONDS = 0.5
_IDLE_SECONDS = 30.0
_TURN_SECONDS = 0.25
"""How long a call waits for those that neither end nor give way: one may hang in a read of a file system that does."""


class Work(Generic[T]):
    """A call that was given to a thread, and the loop that waits for it."""

    __slots__ = ("_call", "_ended", "_loop", "begun", "promised")

    def __init__(self, call: Callable[[], T]) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self.begun = False
        """Whether a thread has come to it."""
        self._ended: asyncio.Future[None] | bool = False
        """Whether it has ended; a future from when somebody waits for it on."""
        self.promised: asyncio.Future[T] = self._loop.create_future()
        """What comes of it. When this is done before, the call is not begun any more, and if it has begun nobody hears of it."""

    @property
    def ended(self) -> bool:
        return self._ended is True

    async def end(self, seconds: float) -> None:
        """Wait until no thread is at it, at most so long; a cancellation meanwhile is raised only then."""
        if self._ended is False:
            self._ended = self._loop.create_future()
        if isinstance(self._ended, asyncio.Future):
            await settled([self._ended], seconds)

    def do(self) -> None:
        """In a thread."""
        self.begun = True
        result: T | None = None
        failure: BaseException | None = None
        if not self.promised.done():
            try:
                result = self._call()
            except StopIteration:  # which no future takes
                failure = RuntimeError("a call ended with StopIteration")
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, result, failure)
        del failure  # whose traceback holds this frame

    def _tell(self, result: Any, failure: BaseException | None) -> None:
        waited, self._ended = self._ended, True
        if isinstance(waited, asyncio.Future):
            waited.set_result(None)
        if self.promised.done():
            return
        if failure is None:
            self.promised.set_result(result)
        else:
            self.promised.set_exception(failure)


class _Own(threading.local):
    """Of each thread by itself."""

    has_turn = False


class DaemonThreads:
    """At most `limit` threads, started when they are needed; one that was idle for `idle_seconds` ends, and with it what it holds.

    `at_once`: how many calls are under way, beside those that gave way, while none has to wait for a quarter of a second. The next one is
    then begun by the thread that is through with its own, which is still on its processor, instead of another that must be woken."""

    def __init__(self, name: str, limit: int, *, at_once: int | None = None, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._name, self._limit = name, limit
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()  # its waiting is C code; that of threading.Semaphore is not
        for _ in range(limit if at_once is None else at_once):
            self._turns.put(None)
        self._all_at_once = at_once is None
        self._lent = 0
        """Turns beyond those, until as many are given back."""
        self._own = _Own()
        self._idle_seconds = idle_seconds
        self._jobs: queue.SimpleQueue[Work[Any] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._spare = 0
        """Threads that are not at work, less the jobs that none has taken yet."""

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result. Cancelled: a call that has not begun never will; one that has goes on unheard."""
        return await self.start(call).promised

    def start(self, call: Callable[[], T]) -> Work[T]:
        work = Work(call)
        with self._lock:
            self._spare -= 1
            lacking = self._spare < 0
        self._jobs.put(work)
        if lacking:
            self._grow()
        if not self._all_at_once:
            asyncio.get_running_loop().call_later(_TURN_SECONDS, self._lend, work)
        return work

    def _lend(self, work: Work[Any]) -> None:
        if not work.begun and not work.promised.done():
            with self._lock:
                self._lent += 1
            self._turns.put(None)

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

    def give_way(self) -> None:
        """By a call, in its thread: it waits for something else than the processor, so that another may begin. Once is enough."""
        if self._own.has_turn:
            self._own.has_turn = False
            with self._lock:
                if self._lent:
                    self._lent -= 1
                    return
            self._turns.put(None)

    def close(self) -> list[threading.Thread]:
        """Let every thread end after its present call; returns those still alive, which die with the process."""
        for _ in self._threads:
            self._jobs.put(None)
        return [thread for thread in self._threads if thread.is_alive()]

    def _work(self) -> None:
        while work := self._next():
            work.do()
            del work
            with self._lock:
                self._spare += 1
            if self._lent:
                self.give_way()
        self.give_way()

    def _next(self) -> Work[Any] | None:
        """None when this thread is to end."""
        while True:
            try:
                self._take_turn()
                return self._jobs.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._lock:
                    if self._spare > 0:  # else a job was put meanwhile that counts on us
                        self._spare -= 1
                        self._threads.remove(threading.current_thread())
                        return None

    def _take_turn(self) -> None:
        """Raises queue.Empty when there is none for as long as a thread may be idle."""
        if not self._own.has_turn:
            self._turns.get(timeout=self._idle_seconds)
            self._own.has_turn = True
