"""What the `.metadata` of a torch.distributed.checkpoint tells of its shards, without unpickling it: nothing in it is ever executed.

The pickle's opcodes are walked one by one, which proves that it is there to its end. On the way the records of what is stored where
(`_StorageInfo` in `torch/distributed/checkpoint/filesystem.py`: `relative_path`, `offset`, `length`) tell how long each shard must at
least be. What is too large for that is searched for the names as bytes; then only its last byte tells of its end.
"""

from __future__ import annotations

import io
import pickletools
import re
import time
from collections.abc import Mapping

from spotguard.adapters.structure.content import Content

_SHARD = re.compile(r"__[0-9]+_[0-9]+\.distcp")
_SHARD_BYTES = re.compile(rb"__[0-9]+_[0-9]+\.distcp")
_LONGEST_NAME_BYTES = 64
_WALK_LIMIT_BYTES = 16 << 20
_WALK_LIMIT_SECONDS = 5.0
_CHUNK_BYTES = 4 << 20
_STOP = b"."
_CHECK_EVERY = 10_000
_PATH, _OFFSET, _LENGTH = "relative_path", "offset", "length"
_KEYS = frozenset({_PATH, _OFFSET, _LENGTH})
_SUFFIX = ".distcp"
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_ATOMS = frozenset(
    {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
)


class CutOff(Exception):
    """The pickle does not reach its end."""


def shards_in(content: Content) -> Mapping[str, int]:
    """Shard -> the bytes that it must at least have (0: not told), by name. Raises CutOff, OSError.

    Takes at most some 5 s for the walk; never mapped, as a trainer may cut it off."""
    if content.size <= _WALK_LIMIT_BYTES and (found := _walked(content.read(content.size, 0))) is not None:
        return dict(sorted(found.items()))
    if content.read(1, content.size - 1) != _STOP:
        raise CutOff("does not end as a pickle does")
    names: set[str] = set()
    offset = 0
    while chunk := content.read(_CHUNK_BYTES, offset):
        names.update(match.group().decode() for match in _SHARD_BYTES.finditer(chunk))
        offset += max(1, len(chunk) - _LONGEST_NAME_BYTES) if offset + len(chunk) < content.size else len(chunk)
    return dict.fromkeys(sorted(names), 0)


def _walked(content: bytes) -> dict[str, int] | None:
    """None when it takes too long."""
    records = _Records()
    given_up_at = time.monotonic() + _WALK_LIMIT_SECONDS
    stream = io.BytesIO(content)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            records.see(opcode.name, argument)
            if count % _CHECK_EVERY == 0 and time.monotonic() > given_up_at:
                return None
    except Exception as error:  # genops raises whatever a byte that is no opcode, or a cut-off argument, leads it to
        raise CutOff("is no pickle to its end: it is cut off, or still being written") from error
    if stream.tell() != len(content):
        raise CutOff("goes on after the end of its pickle")
    return records.shards


class _Records:
    """The strings and numbers of a pickle as they come by, the repeated ones through its memo."""

    def __init__(self) -> None:
        self.shards: dict[str, int] = {}
        self._memo: dict[object, object] = {}
        self._last: object = None
        self._key: str | None = None
        self._record: dict[str, object] = {}

    def see(self, opcode: str, argument: object) -> None:
        if opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self._last
        elif opcode in _GETS:
            self._take(self._memo.get(argument))
        elif opcode in _ATOMS:
            self._take(argument)
        elif opcode in _PUTS:
            self._memo[argument] = self._last
        else:
            self._last = None

    def _take(self, atom: object) -> None:
        self._last = atom
        if isinstance(atom, str):
            if atom.endswith(_SUFFIX) and _SHARD.fullmatch(atom):
                self.shards.setdefault(atom, 0)
            if atom in _KEYS:
                self._key = atom
                return
        if self._key is None:
            return
        self._record[self._key] = atom
        self._key = None
        self._close_record()

    def _close_record(self) -> None:
        path, offset, length = (self._record.get(key) for key in (_PATH, _OFFSET, _LENGTH))
        if isinstance(path, str) and isinstance(offset, int) and isinstance(length, int):
            self._record.clear()
            if path in self.shards:
                self.shards[path] = max(self.shards[path], offset + length)
