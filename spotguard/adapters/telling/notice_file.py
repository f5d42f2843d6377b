"""The notice file: there is one when the instance will go."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FIELDS = {"kind", "deadline", "detected_at"}
"""Of the `interruption` object: by these a file that an earlier daemon left is known as ours."""


class NoticeFile:
    """All calls touch the disk. Raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: bytes | None = None

    def write(self, notice: Mapping[str, Any]) -> None:
        """On return the file holds this notice; nobody ever sees a part of one. Missing folders are made."""
        content = json.dumps(dict(notice), ensure_ascii=False, default=str).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.spotguard-tmp")
        temporary.unlink(missing_ok=True)  # of a daemon that was killed
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o644)  # the trainer may be another user, whatever our umask
                file.write(content)
            os.replace(temporary, self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._written = content

    def remove(self) -> bool:
        """Remove the file if it is ours. False when there is one that is not."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return True
        if not self._is_ours(content):
            return False
        self.path.unlink(missing_ok=True)
        self._written = None
        return True

    def _is_ours(self, content: bytes) -> bool:
        if self._written is not None:
            return content == self._written
        try:
            document = json.loads(content)
        except ValueError:
            return False
        return isinstance(document, dict) and document.keys() >= _FIELDS
