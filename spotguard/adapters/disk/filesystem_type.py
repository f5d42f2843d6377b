"""What kind of filesystem a path lies on, and what that means for open files and inotify."""

from __future__ import annotations

import os
from pathlib import Path

_REMOTE = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "beegfs",
        "beegfs_nodev",
        "glusterfs",
        "orangefs",
        "pvfs2",
        "wekafs",
        "ncpfs",
        "virtiofs",
    ]
)


def filesystem_type(path: str) -> str:
    """As the kernel calls it (`ext4`, `nfs4`, `fuse.s3fs`); empty when it cannot be told. The path need not exist."""
    try:
        return type_in_mountinfo(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"), os.path.realpath(path))
    except OSError:
        return ""


def type_in_mountinfo(mountinfo: str, path: str) -> str:
    """The type of the mount that holds an absolute path (proc_pid_mountinfo(5)): the longest mount point, the last of equals."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        holds = path == point or path.startswith(point.rstrip("/") + "/")
        if holds and len(point) >= best:
            best, found = len(point), right.split(" ")[0]
    return found


def is_remote(kind: str) -> bool:
    """NFS, SMB, FUSE and their like: other hosts write there unseen, and an open file does not survive its name."""
    return kind in _REMOTE or kind == "fuse" or kind.startswith("fuse.")


def _unescaped(field: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
