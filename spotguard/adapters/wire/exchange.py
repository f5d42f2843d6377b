"""One request and its answer over one connection, in a thread, and how it is broken off from outside."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from spotguard.adapters.wire.body import Body
from spotguard.adapters.wire.connections import Connections, Place
from spotguard.adapters.wire.plain_answer import plain_answer
from spotguard.adapters.wire.receiving import Receiver
from spotguard.adapters.wire.sending import AnsweredEarly, Sender
from spotguard.ports.part_transfer import FileShrank

_ANSWER_BYTES = 64 << 10
_NOT_SENT = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError, ssl.SSLEOFError, http.client.RemoteDisconnected)
"""How a connection fails that the peer closed while it was idle."""


class Sink(Protocol):
    """Takes the body of a successful answer."""

    failure: Exception | None
    """What made taking it end."""

    def receive(self, read_into: Callable[[memoryview], int]) -> None:
        """Take all that `read_into` has. Raises what it raises, OSError and ValueError."""
        ...


@dataclass(frozen=True, slots=True)
class WireRequest:
    """Ready to go, signed."""

    method: str
    head: bytes
    body: Body | None = None
    sink: Sink | None = None
    patience_seconds: float | None = None
    """How long nothing may move, where that is longer than on other requests."""


@dataclass(slots=True)
class Answer:
    """What became of a request; filled in a thread, read after its end."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Lower-case names."""
    body: bytes = b""
    """Of an answer that went into no sink; cut."""
    error: Exception | None = None
    """Why there is no answer, or not all of it."""

    @property
    def is_refusal(self) -> bool:
        """Whether the store has answered, and not with a success."""
        return self.status is not None and not 200 <= self.status < 300


class BrokenOff(Exception):
    """Nobody waits for this request any more."""


class Exchange:
    """`run` belongs to a thread, `break_off` to anybody."""

    def __init__(
        self, connections: Connections, place: Place, prepare: Callable[[], WireRequest], give_way: Callable[[], None] = lambda: None
    ) -> None:
        """`prepare` is called in the thread: signing may have to fetch credentials. `give_way` too, when it is not the processor that
        this waits for."""
        self._connections = connections
        self._place = place
        self._prepare = prepare
        self._give_way = give_way
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._broken_off = False

    def run(self) -> Answer:
        """The answer; a failure of the network or of the file is in its `error`, as are UnfitForHead and UnicodeEncodeError of `prepare`.
        Raises what else that raises."""
        try:
            request = self._prepare()
        except ValueError as error:
            return Answer(error=error)
        while True:
            answer = Answer()
            try:
                connection, used_before = self._connections.take(self._place)
            except OSError as error:  # no descriptor is left, or the certificates can not be read: no fault of the file
                answer.error = error
                return answer
            try:
                self._perform(connection, request, answer)
            except (OSError, http.client.HTTPException, ValueError, FileShrank, BrokenOff) as error:
                connection.close()
                idle_end = used_before and isinstance(error, _NOT_SENT) and answer.status is None and not _file_failed(request)
                if idle_end and request.patience_seconds is None and not self._broken_off:
                    continue  # it was closed while idle: nothing that went wrong with this request. One that may take long may be under way
                answer.error = error
            return answer

    def break_off(self) -> bool:
        """End it. Whether its file may still be in use, until `run` returns."""
        with self._lock:
            self._broken_off = True
            if self._link is None:
                return False  # not connected yet, or over: the file will not be touched any more
            with contextlib.suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(self._link, socket.SHUT_RDWR)  # of the plain socket, also under TLS: wakes whoever waits for it
            return True

    def _perform(self, connection: http.client.HTTPConnection, request: WireRequest, answer: Answer) -> None:
        if connection.sock is None:
            self._give_way()
            connection.connect()
        self._hold(connection.sock)
        try:
            with self._connections.pacing.held(connection.sock):
                closes = self._converse_in_time(connection.sock, request, answer)
        finally:
            self._hold(None)
        if closes:
            connection.close()
        else:
            self._connections.give_back(self._place, connection)

    def _hold(self, link: socket.socket | None) -> None:
        """From now on this is what `break_off` breaks."""
        with self._lock:
            self._link = link
            if self._broken_off and link is not None:
                self._link = None
                raise BrokenOff

    def _converse_in_time(self, link: socket.socket, request: WireRequest, answer: Answer) -> bool:
        if request.patience_seconds is None:
            return self._converse(link, request, answer)
        usual = link.gettimeout()
        link.settimeout(request.patience_seconds)
        closes = self._converse(link, request, answer)
        link.settimeout(usual)
        return closes

    def _converse(self, link: socket.socket, request: WireRequest, answer: Answer) -> bool:
        """Whether the connection is of no more use."""
        try:
            self._send(link, request)
        except AnsweredEarly as early:
            self._hear(link, early.arrived, request.method, answer)
            if not answer.is_refusal:
                raise http.client.HTTPException("a success before the body was sent is none") from None
            return True
        except _NOT_SENT:
            if self._broken_off or _file_failed(request) or not self._refused_early(link, request.method, answer):
                raise
            return True
        if request.sink is None:
            closes = self._hear(link, link.recv(_ANSWER_BYTES), request.method, answer)
            perhaps_unread = answer.is_refusal and request.body is not None
            return closes or perhaps_unread or self._broken_off
        with contextlib.closing(http.client.HTTPResponse(link, method=request.method)) as response:
            response.begin()
            if 200 <= response.status < 300:
                _head(response, answer)
                self._receive(link, response, request.sink)
            else:
                _read(response, answer)
            return response.will_close or self._broken_off

    def _send(self, link: socket.socket, request: WireRequest) -> None:
        link.sendall(request.head)
        if request.body is not None:
            with Sender(link, self._give_way) as sender:
                request.body.send(sender.send)
                sender.await_answer()

    def _hear(self, link: socket.socket, arrived: bytes, method: str, answer: Answer) -> bool:
        """Read the answer, of which this has arrived, to its end; whether the connection ends with it."""
        if (plain := plain_answer(arrived)) is not None:
            answer.status, answer.headers, answer.body = plain.status, plain.headers, plain.body
            return plain.closes
        self._give_way()  # the rest may be long in coming
        response = http.client.HTTPResponse(_Resumed(arrived, link), method=method)  # type: ignore[arg-type] # it asks for no more
        response.begin()
        _read(response, answer)
        return response.will_close

    def _refused_early(self, link: socket.socket, method: str, answer: Answer) -> bool:
        """A store may answer and close without reading the body: the refusal tells more than the broken pipe."""
        self._give_way()
        try:
            self._hear(link, link.recv(_ANSWER_BYTES), method, answer)
        except (OSError, http.client.HTTPException):
            answer.status = None
            return False
        return answer.is_refusal

    def _receive(self, link: socket.socket, response: http.client.HTTPResponse, sink: Sink) -> None:
        if response.length is None:  # chunked, or as long as the connection lasts
            sink.receive(response.readinto)
            return
        with Receiver(link, response, self._connections.turns) as body:
            sink.receive(body.read_into)


def _head(response: http.client.HTTPResponse, answer: Answer) -> None:
    answer.headers = {name.lower(): value for name, value in response.getheaders()}
    answer.status = response.status


def _read(response: http.client.HTTPResponse, answer: Answer) -> None:
    _head(response, answer)
    answer.body = response.read(_ANSWER_BYTES)
    while response.readinto(bytearray(_ANSWER_BYTES)):
        continue  # the rest, so that the connection can be used again


def _file_failed(request: WireRequest) -> bool:
    return any(party is not None and party.failure is not None for party in (request.body, request.sink))


class _Resumed(io.RawIOBase):
    """A socket of which something was read already, as far as HTTPResponse needs one."""

    def __init__(self, arrived: bytes, link: socket.socket) -> None:
        self._arrived = arrived
        self._link = link

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._arrived:
            return self._link.recv_into(buffer)
        count = min(len(buffer), len(self._arrived))
        buffer[:count] = self._arrived[:count]
        self._arrived = self._arrived[count:]
        return count
