"""systemd's notify protocol (sd_notify(3)): one datagram per message to the socket that $NOTIFY_SOCKET names."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger()


class SystemdNotifier:
    def __init__(self, environment: Mapping[str, str]) -> None:
        """Without $NOTIFY_SOCKET, or with one of another kind than a path or an abstract name, every verb does nothing."""
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""
        self._watchdog_seconds = _watchdog_seconds(environment) if self._address else None
        self._last_failure = ""

    @property
    def watchdog_seconds(self) -> float | None:
        return self._watchdog_seconds

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        self._send("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        self._send(f"EXTEND_TIMEOUT_USEC={max(0, round(seconds * 1_000_000))}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
                sender.connect(self._address)
                sender.send(message.encode())
        except OSError as error:
            if str(error) != self._last_failure:
                log.warning("service_manager.notify_failed", message=message, error=str(error))
            self._last_failure = str(error)
        else:
            self._last_failure = ""


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Half of the allowed time, as sd_watchdog_enabled(3) advises; None when nobody watches, or watches another process."""
    allowed = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not allowed.isdecimal() or int(allowed) == 0:
        return None
    return int(allowed) / 2_000_000
