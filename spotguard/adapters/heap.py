"""Memory that is free inside the heap stays with a process unless it asks (malloc_trim(3), of the GNU C library)."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Give what is free back to the system. Takes milliseconds, without the interpreter's lock; with another C library it does nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
