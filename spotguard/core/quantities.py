"""Amounts in words, for the sentences that operators read: no more digits than an estimate is worth."""

from __future__ import annotations

from math import ceil


def in_gigabytes(size: float) -> str:
    """Bytes: `80 GB`, `1.4 GB`, `12 MB`."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.0f} {unit}" if size >= 10 * one else f"{size / one:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size:.0f} B"


def in_seconds(seconds: float) -> str:
    """`40 ms`, `1.3 s`, `31 s`."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f}".removesuffix(".0") + " s"


def at_least_every(seconds: float) -> str:
    """An interval not shorter than this: `45 s`, `5 min`, `2 h`."""
    if seconds <= 60:
        return f"{max(1, ceil(seconds / 5) * 5 if seconds > 5 else ceil(seconds))} s"
    return f"{ceil(seconds / 60)} min" if seconds <= 5400 else f"{ceil(seconds / 3600)} h"


def at_least_rate(bytes_per_second: float) -> str:
    """A link not slower than this: `6 Gbit/s`, `2.5 Gbit/s`, `300 Mbit/s`."""
    megabits = bytes_per_second * 8 / 1e6
    if megabits > 3000:
        return f"{ceil(megabits / 1000)} Gbit/s"
    if megabits > 1000:
        return f"{ceil(megabits / 100) / 10:.1f}".removesuffix(".0") + " Gbit/s"
    return f"{ceil(megabits / 10) * 10 if megabits > 100 else max(1, ceil(megabits))} Mbit/s"
