"""Which process was signalled for which notice: the one file that spotguard keeps on a machine."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger()

FILE_NAME = "signalled.json"
_MOST_ENTRIES = 1000
_MOST_BYTES = 1 << 20


class FileSignalJournal:
    """Entries survive a kill of the daemon, not the reboot of the machine, nor need they: the processes do not either.

    Several daemons of one machine may share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._added: list[str] = []

    async def read(self) -> frozenset[str]:
        """All entries; what this object added is among them even if the file could not be written."""
        return frozenset(await asyncio.to_thread(self._load)) | frozenset(self._added)

    async def add(self, entry: str) -> None:
        """On return the entry is in the file; a failure is logged."""
        self._added.append(entry)
        try:
            await asyncio.to_thread(self._append, entry)
        except OSError as error:
            log.warning("signal_journal.write_failed", path=str(self._path), error=str(error))

    def _append(self, entry: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self._path.parent):
            entries = [known for known in self._load() if known != entry] + [entry]
            temporary = self._path.with_name(f".{FILE_NAME}-tmp")
            temporary.unlink(missing_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as file:
                json.dump({"signalled": entries[-_MOST_ENTRIES:]}, file)
            os.replace(temporary, self._path)

    def _load(self) -> list[str]:
        try:
            with open(self._path, "rb") as file:
                entries = json.loads(file.read(_MOST_BYTES))["signalled"]
            if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
                raise ValueError("`signalled` is not a list of texts")
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("signal_journal.ignored", path=str(self._path), error=str(error), cost="a trainer may be signalled twice")
            return []
        return entries


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone in this folder: the lock is on the folder itself, so no second file is needed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def journal_path(environment: Mapping[str, str], *, system_folder: Path = Path("/run")) -> Path:
    """Where the journal lies: under $RUNTIME_DIRECTORY (systemd makes it); else in /run/spotguard if we may write there; else
    under $XDG_RUNTIME_DIR; else in a folder of our own among the temporary files, which nobody else can have prepared.

    Makes the folder if it can; a folder that cannot be used is found out, and logged, when an entry is added."""
    if runtime := environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(runtime) / "spotguard" / FILE_NAME
    candidates = [system_folder / "spotguard"]
    if session := environment.get("XDG_RUNTIME_DIR"):
        candidates.append(Path(session) / "spotguard")
    temporary = Path(tempfile.gettempdir()) / f"spotguard-{os.geteuid()}"
    for folder in (*candidates, temporary):
        if _is_usable(folder):
            return folder / FILE_NAME
    # Somebody else owns the name that we would use: take one that nobody can know. It is lost with this process.
    return Path(tempfile.mkdtemp(prefix="spotguard-")) / FILE_NAME


def _is_usable(folder: Path) -> bool:
    """Whether the folder is there (it is made, for us alone), ours, no link, and nobody else may write to it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return False
    owned = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return owned and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and os.access(folder, os.W_OK | os.X_OK)
