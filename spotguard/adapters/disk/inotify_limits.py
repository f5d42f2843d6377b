"""Whether the kernel gives one more inotify watch. watchdog does not say when a folder below the root gets none."""

from __future__ import annotations

import ctypes
import errno
import os

_IN_NONBLOCK, _IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_IN_DELETE_SELF = 0x400

_FIXES = {
    errno.ENOSPC: "no inotify watch is left for this user: raise it with `sysctl fs.inotify.max_user_watches=524288`",
    errno.EMFILE: "no inotify instance is left for this user: raise it with `sysctl fs.inotify.max_user_instances=1024`",
    errno.ENOSYS: "the kernel has no inotify",
}


def told(error: OSError) -> str:
    """The reason, with its fix where there is one."""
    return _FIXES.get(error.errno or 0, f"inotify cannot watch: {error.strerror or error}")


def refusal(path: str) -> str | None:
    """Why a folder cannot be watched (inotify_init1(2), inotify_add_watch(2)), with the fix; None when it can."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        instance = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    except (OSError, AttributeError):
        return _FIXES[errno.ENOSYS]
    if instance < 0:
        return told(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
    try:
        if libc.inotify_add_watch(instance, os.fsencode(path), _IN_DELETE_SELF) < 0:
            return told(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
    finally:
        os.close(instance)
    return None
