"""Looks for checkpoints that lie in the prefix without a manifest: another tool's, or the rest of an upload of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spotguard.core.layouts.identify import identify
from spotguard.core.recovery import is_below, tree_of_listing
from spotguard.core.run_keys import RUN_METADATA, RunKeys
from spotguard.ports.object_store import ObjectMissing, ObjectStore

_LOOK_AT_OBJECTS = 10_000
_LOOK_AT_CHECKPOINTS = 16


@dataclass(frozen=True, slots=True)
class Uncommitted:
    foreign: tuple[str, ...] = ()
    """Names of what looks like checkpoints and was not put there by us."""
    cut_off: int = 0
    """Objects of our own uploads that were never committed; only counted when there are no foreign ones."""


async def look_for_uncommitted(store: ObjectStore, keys: RunKeys, *, layout: str, stage: str | None, name: str | None) -> Uncommitted:
    """What the first 10,000 objects of the run look like. Raises StoreError."""
    # Our own records sort before letters and digits; `.spotguard0` is the first possible key after all of `.spotguard/`.
    listed = await store.list(keys.root, start_after=f"{keys.root}.spotguard0", limit=_LOOK_AT_OBJECTS)
    sizes = {keys.relative(stored.key): stored.size for stored in listed}
    found = [
        (checkpoint.name, keys.absolute(checkpoint.files[0].source))
        for checkpoint in identify(tree_of_listing(sizes), layout).checkpoints.values()
        if checkpoint.files and (stage is None or checkpoint.stage == stage) and (name is None or checkpoint.name == name)
    ]
    foreign = [checkpoint for checkpoint, key in found[:_LOOK_AT_CHECKPOINTS] if not await _is_ours(store, key)]
    cut_off = sum(1 for path in sizes if any(is_below(path, checkpoint) for checkpoint, _ in found))
    return Uncommitted(tuple(foreign), 0 if foreign else cut_off)


async def _is_ours(store: ObjectStore, key: str) -> bool:
    """Whether an upload of ours put it there. The prefix may have been copied from another run, so the value does not matter."""
    try:
        return RUN_METADATA in (await store.head(key)).metadata
    except ObjectMissing:
        return True


def named(names: Sequence[str], *, at_most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {more} more" if more > 0 else "")
