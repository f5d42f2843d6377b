"""How long a daemon's event loop keeps whoever asks it waiting, which is how long a notice would wait."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

_ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
_EVERY_SECONDS = 0.02


class Pulse:
    """Asks a daemon that listens on this socket for its health, over and over, from when it is entered."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._over = threading.Event()
        self._longest = 0.0
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def longest_ms(self) -> float:
        """For how long at most no answer came, since the last call. Raises what made asking end."""
        if self._failed is not None:
            raise self._failed
        longest, self._longest = self._longest, 0.0
        return longest * 1000

    def _ask(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(self._path)
                while not self._over.wait(_EVERY_SECONDS):
                    began = time.monotonic()
                    link.sendall(_ASK)
                    if not link.recv(1 << 16):
                        raise ConnectionError("the daemon hung up")
                    self._longest = max(self._longest, time.monotonic() - began)
        except OSError as error:
            self._failed = error
