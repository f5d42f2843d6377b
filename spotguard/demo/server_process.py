"""A small server as a child process that says where it listens on its first line."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from spotguard.demo.daemon_process import clean_environment


class ServerProcess:
    """Starts on `with`, is killed at the end of it: it must keep nothing that matters. `url` is the last word of its first line."""

    def __init__(self, command: Sequence[str], *, log: Path | None = None) -> None:
        self.url = ""
        self._command = list(command)
        self._log = log or Path("/dev/null")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """On return it listens. Raises RuntimeError when it does not come up."""
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                self._command,
                env=clean_environment(),
                stdin=subprocess.PIPE,  # its end tells the child that we are gone, however we went
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,  # a Ctrl-C is for the parent, which then ends this one in order
            )
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if not words:
            self.close()
            raise RuntimeError(f"a server did not start: {' '.join(self._command)}; its words are in {self._log}")
        self.url = words[-1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the server; idempotent."""
        if process := self._process:
            self._process = None
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
