"""How values are written for people: sizes, spans of time, names; and estimates, with no more digits than they are worth."""

from __future__ import annotations

from datetime import datetime
from math import ceil

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def size(number: float) -> str:
    """Bytes in decimal units: `512 B`, `1.2 GB`."""
    value, unit = float(number), 0
    while unit < len(_UNITS) - 1 and round(abs(value), 1 if unit else 0) >= 1000:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def readable_bytes(size: float) -> str:
    """`1.5 GB`: powers of 1,000, as disks and prices are given."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.5 else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"


def duration(seconds: float) -> str:
    """The two largest units: `0.4 s`, `12 s`, `2 min 5 s`, `3 h`, `2 d 4 h`."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for index, (span, unit) in enumerate(_SPANS):
        if whole >= span:
            first, rest = divmod(whole, span)
            if span == 1:
                return f"{first} s"
            smaller, smaller_unit = _SPANS[index + 1]
            return f"{first} {unit}" + (f" {rest // smaller} {smaller_unit}" if rest // smaller else "")
    return "0 s"


def age(moment: datetime, now: datetime) -> str:
    """`4 min ago`, in the largest unit; both times aware. What lies ahead, a clock's error, counts as now."""
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "just now"
    for span, unit in _SPANS:
        if seconds >= span:
            return f"{int(seconds // span)} {unit} ago"
    return "just now"


def plain(text: str) -> str:
    """The text as it can be shown on any terminal: nothing in a file's name moves the cursor or breaks the line."""
    return "".join(mark if mark.isprintable() else f"\\x{ord(mark):02x}" for mark in text)


def count(number: int, noun: str) -> str:
    """`1 checkpoint`, `3 checkpoints`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_gigabytes(size: float) -> str:
    """An estimate in bytes: `80 GB`, `1.4 GB`, `12 MB`."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.0f} {unit}" if size >= 10 * one else f"{size / one:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size:.0f} B"


def in_seconds(seconds: float) -> str:
    """An estimate: `40 ms`, `1.3 s`, `31 s`."""
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
