"""Why a restore found nothing: an empty run, the wrong name or stage, damage, or somebody else's objects. These must never be mixed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import stage_of
from spotguard.core.recovery import Candidate
from spotguard.core.run_keys import ManifestKey, RunKeys
from spotguard.ports.object_store import ObjectStore
from spotguard.services.restore.recovery_errors import NotCommitted, NothingToRestore, OnlyDamaged, RecoveryFailed
from spotguard.services.restore.restore_outcome import Skipped


@dataclass(frozen=True, slots=True)
class Asked:
    """What was to be restored."""

    stage: str | None
    name: str | None
    layout: str


async def why_nothing(
    store: ObjectStore,
    keys: RunKeys,
    asked: Asked,
    listed: Sequence[ManifestKey],
    *,
    tried: Sequence[Candidate],
    skipped: Sequence[Skipped],
) -> RecoveryFailed:
    """The failure to raise, after all of `tried` were `skipped`. Raises StoreError."""
    from spotguard.services.restore.uncommitted import look_for_uncommitted, named  # knows the layouts, which a restore that works need not

    if tried:
        return _damaged(keys, skipped)
    names = sorted({key.name for key in listed if asked.stage is None or stage_of(key.name) == asked.stage}, reverse=True)
    if asked.name is not None and names:
        return _nothing(keys, f"has no checkpoint {asked.name}; it has {named(names, at_most=5)}")
    if not listed and await store.list(keys.manifests, limit=1):
        return OnlyDamaged(f"{keys.url} has records of commits that this version does not understand", "upgrade spotguard")
    found = await look_for_uncommitted(store, keys, layout=asked.layout, stage=asked.stage, name=asked.name)
    if found.foreign:
        return NotCommitted(
            f"{keys.url} has {named(found.foreign)} without a manifest: nobody says that they are whole",
            "`spotguard adopt` commits what another tool put there, `spotguard resume --fresh` starts without it",
        )
    if stages := sorted({stage_of(key.name) for key in listed}):
        return _nothing(keys, f"has no checkpoint of the stage {asked.stage!r}; it has the stages {', '.join(map(repr, stages))}")
    if found.cut_off:
        return _nothing(keys, f"is empty but for {found.cut_off} objects of uploads that were cut off before their commit")
    return _nothing(keys, "is empty")


def _nothing(keys: RunKeys, what: str) -> NothingToRestore:
    return NothingToRestore(f"nothing to restore: {keys.url} {what}", what_is_there=what)


def _damaged(keys: RunKeys, skipped: Sequence[Skipped]) -> OnlyDamaged:
    told = [f"{one.name} (generation {one.generation}): {one.reason}" for one in skipped]
    more = f"; {len(told) - 3} more are damaged too" if len(told) > 3 else ""
    return OnlyDamaged(
        f"nothing in {keys.url} can be restored: {'; '.join(told[:3])}{more}",
        "`spotguard verify` tells all, `spotguard resume --fresh` starts without them",
    )
