"""A real `spotguard daemon` as a child process: start it, ask it, stop it, kill it. Used by the demo and by the tests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.05


class DaemonTrouble(Exception):
    """The daemon ended, or did not become ready in time. `str()` ends with the last lines of its log."""


def free_address(preferred_port: int = 0) -> str:
    """`127.0.0.1:PORT` that nobody listens on now: the preferred port if it is free."""
    for port in (preferred_port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{probe.getsockname()[1]}"
    raise OSError("no free port on 127.0.0.1")


def clean_environment() -> dict[str, str]:
    """This process's environment without what would configure spotguard or boto3 from outside."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("SPOTGUARD_", "AWS_"))}


class DaemonProcess:
    """One run of the daemon. `address` must be the `http.listen` of its configuration."""

    def __init__(self, config_file: Path, *, address: str, environment: Mapping[str, str], log: Path) -> None:
        self.address = address
        self._log_path = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "spotguard", "daemon", "-c", str(config_file)],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # a Ctrl-C on the terminal is not the daemon's
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def returncode(self) -> int | None:
        """The exit status (negative: minus the signal), None while it runs."""
        return self._process.poll()

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-lines:])

    def get(self, path: str, *, timeout: float = 5.0) -> tuple[int, Any]:
        """The HTTP status and the decoded JSON (or text). Raises OSError when nobody answers, DaemonTrouble when the daemon ended."""
        return self._request("GET", path, timeout)

    def post(self, path: str, *, timeout: float = 60.0) -> tuple[int, Any]:
        return self._request("POST", path, timeout)

    def _request(self, method: str, path: str, timeout: float) -> tuple[int, Any]:
        self.check_running()
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, path, headers={"X-Spotguard": "1"})
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, body

    def status(self) -> dict[str, Any]:
        code, body = self.get("/status")
        if code != 200 or not isinstance(body, dict):
            raise DaemonTrouble(f"GET {self.url}/status answered {code}: {body}")
        return body

    def check_running(self) -> None:
        if (code := self.returncode()) is not None:
            raise DaemonTrouble(f"the daemon ended with status {code}; its last lines:\n{self.log_tail()}")

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Returns when `/readyz` says yes. Raises DaemonTrouble."""
        until = time.monotonic() + timeout
        last: object = "nobody answers"
        while time.monotonic() < until:
            try:
                code, last = self.get("/readyz")
                if code == 200:
                    return
            except OSError:
                pass  # not listening yet
            time.sleep(_POLL_SECONDS)
        raise DaemonTrouble(f"the daemon was not ready after {timeout:.0f} s ({last}); its last lines:\n{self.log_tail()}")

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, wait, and its exit status. Killed after `timeout` (then negative)."""
        if self.returncode() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL, as when the machine goes away; idempotent."""
        self._process.kill()
        return self._process.wait()
