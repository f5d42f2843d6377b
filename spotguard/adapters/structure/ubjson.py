"""Whether a UBJSON document is there to its end: XGBoost's `.ubj`. Lengths are followed, no value is read.

Draft 12 of the specification (https://ubjson.org): a value is a type byte and its payload; `[` and `{` may give one type for all items
(`$`) and their count (`#`), else they end with `]` and `}`.
"""

from __future__ import annotations

from spotguard.adapters.structure.content import Content

_INTEGERS = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8}
_FIXED = _INTEGERS | {b"d": 4, b"D": 8, b"C": 1, b"Z": 0, b"T": 0, b"F": 0, b"N": 0}
_UNSIGNED = b"U"
_CHUNK_BYTES = 256 << 10
_DEEPEST = 100
_MOST_VALUES = 5_000_000
"""A walk takes about a microsecond for each; XGBoost's arrays are typed, so that each counts as one."""


class NotWhole(Exception):
    """The document is cut off, or is none."""


class TooMany(Exception):
    """It has more values than a cheap look may walk over."""


def walk(content: Content) -> None:
    """Returns when the file holds one whole document and nothing else. Raises NotWhole, TooMany, OSError."""
    if content.size and content.read(1, 0) not in (b"{", b"["):
        raise NotWhole("has no UBJSON object")
    document = _Document(content)
    document.skip_value(document.take(1), 0)
    if document.at != content.size:
        raise NotWhole("goes on after the end of its document")


class _Document:
    def __init__(self, content: Content) -> None:
        self.at = 0
        self._content = content
        self._begin = 0
        self._chunk = b""
        self._values = 0

    def take(self, count: int) -> bytes:
        self._need(count)
        inside = self.at - self._begin
        if not 0 <= inside <= len(self._chunk) - count:
            self._begin, inside = self.at, 0
            self._chunk = self._content.read(max(_CHUNK_BYTES, count), self.at)
        self.at += count
        return self._chunk[inside : inside + count]

    def skip_value(self, kind: bytes, depth: int) -> None:
        self._values += 1
        if self._values > _MOST_VALUES or depth > _DEEPEST:
            raise TooMany
        if kind in _FIXED:
            self._skip(_FIXED[kind])
        elif kind in (b"S", b"H"):
            self._skip(self._length(self.take(1)))
        elif kind in (b"[", b"{"):
            self._skip_container(keyed=kind == b"{", depth=depth + 1)
        else:
            raise NotWhole("is no UBJSON")

    def _skip_container(self, *, keyed: bool, depth: int) -> None:
        mark = self.take(1)
        kind = None
        if mark == b"$":
            kind, mark = self.take(1), self.take(1)
        if mark == b"#":
            count = self._length(self.take(1))
            if kind in _FIXED and not keyed:
                self._skip(count * _FIXED[kind])
                return
            for _ in range(count):
                self._skip_item(self.take(1) if keyed or kind is None else b"", kind, keyed=keyed, depth=depth)
            return
        end = b"}" if keyed else b"]"
        while mark != end:
            self._skip_item(mark, None, keyed=keyed, depth=depth)
            mark = self.take(1)

    def _skip_item(self, first: bytes, kind: bytes | None, *, keyed: bool, depth: int) -> None:
        """`first`: the item's first byte where it has one of its own: the type of the key's length, or its own type."""
        if keyed:
            self._skip(self._length(first))
            first = self.take(1) if kind is None else b""
        self.skip_value(first if kind is None else kind, depth)

    def _length(self, kind: bytes) -> int:
        if kind not in _INTEGERS:
            raise NotWhole("is no UBJSON")
        length = int.from_bytes(self.take(_INTEGERS[kind]), "big", signed=kind != _UNSIGNED)
        if length < 0:
            raise NotWhole("is no UBJSON")
        return length

    def _skip(self, count: int) -> None:
        self._need(count)
        self.at += count

    def _need(self, count: int) -> None:
        if self.at + count > self._content.size:
            raise NotWhole("ends within its document: it is cut off, or still being written")
