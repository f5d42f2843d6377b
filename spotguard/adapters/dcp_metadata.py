"""The shard names in the `.metadata` of a torch.distributed.checkpoint, without unpickling it: nothing in it is ever executed.

The pickle's opcodes are walked one by one, which proves that it is there to its end, and its strings are looked at on the way. What is
too large for that is searched for the names as bytes; then only its last byte tells of its end.
"""

from __future__ import annotations

import io
import pickletools
import re
import time

from spotguard.adapters.content import Content

_SHARD = re.compile(r"__[0-9]+_[0-9]+\.distcp")
_SHARD_BYTES = re.compile(rb"__[0-9]+_[0-9]+\.distcp")
_LONGEST_NAME_BYTES = 64
_WALK_LIMIT_BYTES = 32 << 20
_WALK_LIMIT_SECONDS = 10.0
_CHUNK_BYTES = 4 << 20
_STOP = b"."
_CHECK_EVERY = 10_000


class CutOff(Exception):
    """The pickle does not reach its end."""


def shard_names(content: Content) -> tuple[str, ...]:
    """Sorted, each once. Raises CutOff, OSError. Takes at most some 10 s for the walk; never mapped, as a trainer may cut it off."""
    if content.size <= _WALK_LIMIT_BYTES and (found := _walked(content.read(content.size, 0))) is not None:
        return tuple(sorted(found))
    if content.read(1, content.size - 1) != _STOP:
        raise CutOff("does not end as a pickle does")
    names: set[str] = set()
    offset = 0
    while chunk := content.read(_CHUNK_BYTES, offset):
        names.update(match.group().decode() for match in _SHARD_BYTES.finditer(chunk))
        offset += max(1, len(chunk) - _LONGEST_NAME_BYTES) if offset + len(chunk) < content.size else len(chunk)
    return tuple(sorted(names))


def _walked(content: bytes) -> set[str] | None:
    """None when it takes too long."""
    names: set[str] = set()
    given_up_at = time.monotonic() + _WALK_LIMIT_SECONDS
    stream = io.BytesIO(content)
    try:
        for count, (_, argument, _) in enumerate(pickletools.genops(stream)):
            if isinstance(argument, str) and _SHARD.fullmatch(argument):
                names.add(argument)
            if count % _CHECK_EVERY == 0 and time.monotonic() > given_up_at:
                return None
    except Exception as error:  # genops raises whatever a byte that is no opcode, or a cut-off argument, leads it to
        raise CutOff("is no pickle to its end: it is cut off, or still being written") from error
    if stream.tell() != len(content):
        raise CutOff("goes on after the end of its pickle")
    return names
