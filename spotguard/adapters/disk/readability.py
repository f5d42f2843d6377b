"""Whether this process may read a file, told from its stat alone in nearly all cases."""

from __future__ import annotations

import os


class Readability:
    """The identity of the process as it was when this was made."""

    def __init__(self) -> None:
        self._uid = os.geteuid()
        self._groups = {os.getegid(), *os.getgroups()}

    def refusal(self, path: str, found: os.stat_result) -> str | None:
        """Why the file cannot be opened; None when it can. Only where the permission bits say no is the kernel asked, for an ACL or a
        capability may say yes."""
        if found.st_uid == self._uid:
            allowed = found.st_mode & 0o400
        elif found.st_gid in self._groups:
            allowed = found.st_mode & 0o040
        else:
            allowed = found.st_mode & 0o004
        if allowed or os.access(path, os.R_OK, effective_ids=True):
            return None
        return f"permission denied (mode {found.st_mode & 0o7777:04o}, owner {found.st_uid}, we are {self._uid})"
