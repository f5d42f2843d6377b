"""Many small objects in one thread: a request on each of some connections, answered in turn.

While an answer is read the next ones arrive in the kernel's buffers, so hardly a call waits, and no thread is woken for a single
object. Answers that are anything but a plain success end their connection: whoever asks again, alone, is told why.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from spotguard.adapters.wire.connections import Connections, Place
from spotguard.adapters.wire.lane import Lane
from spotguard.adapters.wire.small_answer import Unusual

Head = Callable[[int, Mapping[str, str]], bytes]
"""The head of a request whose body, before any framing, has so many bytes, with these headers beside."""


class SmallRequest(Protocol):
    """One of a batch. Both may use the thread's own buffer; no two are called at the same time."""

    def request(self, head: Head) -> bytes | memoryview:
        """All that is sent. Raises Unusual when it cannot be made; then nothing is."""
        ...

    def hear(self, lane: Lane) -> bool:
        """Read the answer to its end; whether the connection ends with it. Raises OSError and Unusual for anything but a success."""
        ...


_Waiting = deque[tuple[Lane, SmallRequest]]


class Batch:
    """`run` belongs to a thread, `break_off` to anybody."""

    def __init__(
        self, connections: Connections, place: Place, prepare: Callable[[], Iterable[tuple[SmallRequest, Head]]], *, most_lanes: int
    ) -> None:
        """`prepare` is called in the thread, since signing may have to fetch credentials. `most_lanes`: connections, each with one request
        under way."""
        self._connections = connections
        self._place = place
        self._prepare = prepare
        self._most_lanes = most_lanes
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._broken_off = False

    def run(self) -> None:
        """Do what can be done without trouble; each request knows what came of it. Raises what `prepare` raises."""
        waiting: _Waiting = deque()
        try:
            for small, head in self._prepare():
                if (lane := self._free_lane(waiting)) is None:
                    break
                with contextlib.suppress(Unusual):
                    self._ask(lane, small.request(head))
                    waiting.append((lane, small))
            while waiting:
                self._hear(*waiting.popleft())
        except (OSError, http.client.HTTPException):  # no connection can be had: what was not done by now is left
            pass
        finally:
            for lane, _ in waiting:
                self._drop(lane)
            with self._lock:
                lanes, self._lanes = self._lanes, []
            for lane in lanes:
                self._connections.give_back(self._place, lane.release())

    def break_off(self) -> None:
        """End it: `run` returns soon."""
        with self._lock:
            self._broken_off = True
            for lane in self._lanes:
                with contextlib.suppress(OSError):  # it has ended by itself
                    lane.break_off()

    def _free_lane(self, waiting: _Waiting) -> Lane | None:
        """A connection on which nothing is under way; None when there is no hope for the rest. Raises OSError."""
        if len(waiting) == self._most_lanes:
            lane, small = waiting.popleft()
            if self._hear(lane, small):
                return lane
        elif idle := [lane for lane in self._lanes if all(lane is not busy for busy, _ in waiting)]:
            return idle[0]
        return self._new_lane()

    def _new_lane(self) -> Lane | None:
        connection, _ = self._connections.take(self._place)
        if connection.sock is None:
            try:
                connection.connect()
            except (OSError, http.client.HTTPException):
                connection.close()
                raise
        lane = Lane(connection)
        with self._lock:
            if not self._broken_off:
                self._lanes.append(lane)
                return lane
        connection.close()
        return None

    def _ask(self, lane: Lane, request: bytes | memoryview) -> None:
        with contextlib.suppress(OSError):  # a connection that was closed while idle: hearing finds out
            lane.sendall(request)

    def _hear(self, lane: Lane, small: SmallRequest) -> bool:
        """Whether the connection can be used again."""
        if self._broken_off:  # what has arrived could still be read, into a file that may be closed by now
            self._drop(lane)
            return False
        try:
            closes = small.hear(lane)
        except (OSError, Unusual) as error:
            self._drop(lane)
            if isinstance(error, TimeoutError):
                raise  # the others would take as long
            return False
        if closes:
            self._drop(lane)
        return not closes

    def _drop(self, lane: Lane) -> None:
        with self._lock:
            if lane in self._lanes:
                self._lanes.remove(lane)
        lane.connection.close()
