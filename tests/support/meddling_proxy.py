"""An HTTP proxy on loopback in front of an S3 server, that answers some requests itself and changes what the server says of the time."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, before it is passed on."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """With lower-case names."""
    size: int
    """Of the body, in bytes."""

    @property
    def is_part(self) -> bool:
        return self.method == "PUT" and "partNumber=" in self.target

    @property
    def access_key(self) -> str:
        return self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str = "", **headers: str) -> Answer:
    """An error as S3 writes it; underscores in names of headers are hyphens."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class MeddlingProxy:
    """`meddle` answers a request by itself, or None to pass it on; it may be changed at any time, and runs in the proxy's threads."""

    def __init__(self, url: str, upstream_url: str) -> None:
        self.url = url
        self.upstream = upstream_url.removeprefix("http://")
        self.meddle: Callable[[Asked], Answer | None] = lambda asked: None
        self.clock_ahead_seconds = 0.0
        self.meddled = 0
        """How many requests were answered here."""

    def answer(self, asked: Asked, body: bytes) -> Answer:
        own = self.meddle(asked)
        if own is not None:
            self.meddled += 1
            return own
        connection = http.client.HTTPConnection(self.upstream, timeout=20)
        try:
            connection.request(asked.method, asked.target, body, {k: v for k, v in asked.headers.items() if k not in _HOP})
            told = connection.getresponse()
            headers = dict(told.getheaders())
            if moment := headers.get("Date"):
                shifted = parsedate_to_datetime(moment) + timedelta(seconds=self.clock_ahead_seconds)
                headers["Date"] = format_datetime(shifted, usegmt=True)
            return Answer(told.status, told.read(), headers)
        finally:
            connection.close()


@contextmanager
def meddling(upstream_url: str) -> Iterator[MeddlingProxy]:
    """The proxy, listening; at the end of it nothing is passed on any more."""

    class Talk(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            answer = proxy.answer(Asked(self.command, self.path, headers, len(body)), body)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that was killed is no error of ours."""

    with Server(("127.0.0.1", 0), Talk) as server:
        proxy = MeddlingProxy(f"http://127.0.0.1:{server.server_port}", upstream_url)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
