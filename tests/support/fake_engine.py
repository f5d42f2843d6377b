"""A container engine for tests: the two calls that spotguard makes, over a unix socket, as Docker answers them."""

from __future__ import annotations

import json
import os
import re
import signal
import socketserver
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import psutil


class FakeEngine:
    """Keeps one container. `answer` replaces every answer by another one: (status, body)."""

    def __init__(self, path: Path, name: str, shown_beyond: int = 0) -> None:
        self.path = path
        self.name = name
        self.shown_beyond = shown_beyond
        self.kills: list[str] = []
        self.answer: tuple[int, bytes] | None = None
        self._pid = 0
        self._started_at = datetime(1, 1, 1, tzinfo=UTC)
        self._server = _Server(str(path), _Handler)
        self._server.engine = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def run(self, pid: int) -> None:
        """From now on the container runs, with this first process."""
        self._pid = pid
        self._started_at = datetime.fromtimestamp(psutil.Process(pid).create_time() + 0.2, UTC)

    def stop(self) -> None:
        self._pid = 0

    def inspect(self) -> tuple[int, Any]:
        started = self._started_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self._started_at.microsecond * 1000:09d}Z"
        state = {"Status": "running", "Running": self._pid > 0, "Pid": self._pid and self._pid + self.shown_beyond, "StartedAt": started}
        return 200, {"Id": "4f" * 32, "Name": f"/{self.name}", "State": state}

    def kill(self, name: str) -> tuple[int, Any]:
        if not self._pid:
            return 409, {"message": f"container {self.name} is not running"}
        self.kills.append(name)
        os.kill(self._pid, signal.Signals[name])
        return 204, None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    engine: FakeEngine

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in the middle is what one of the tests is about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer(self.server.engine.inspect() if self.path == f"/containers/{self.server.engine.name}/json" else None)

    def do_POST(self) -> None:
        wanted = re.fullmatch(rf"/containers/{self.server.engine.name}/kill\?signal=(\w+)", self.path)
        self._answer(self.server.engine.kill(wanted[1]) if wanted else None)

    def _answer(self, answer: tuple[int, Any] | None) -> None:
        status, document = answer or (404, {"message": f"No such container: {self.path}"})
        body = b"" if document is None else json.dumps(document).encode()
        if self.server.engine.answer is not None:
            status, body = self.server.engine.answer
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass
