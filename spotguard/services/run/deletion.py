"""Deletes objects that nothing needs, one proof at a time. The only place where an object of a checkpoint is ever deleted.

The safety argument. Let K be a key that is deleted here. A manifest that names K could become broken by it. Such a manifest either

* existed when the manifests were listed *after* K was condemned: then K is named and is spared; or
* was created later, by a commit of this process that had chosen K before K was condemned: then K, or the checkpoint's name, was in
  `in_use` at that moment and K was not condemned; or
* was created later by a commit of this process that chose K after that: but a commit does not choose what `is_condemned`, and K stays
  condemned until its deletion was answered (for ever, if the answer was lost: the request may still be under way); or
* was created later by another host. Garbage is older than 7 days and a commit reuses nothing older than 3, so that commit would have to
  be 4 days under way; and what retention gives up is never the latest generation of a name that stays, which is what a late commit of a
  former holder builds on. It then lists what it sent before it creates its manifest, and sends again what is missing.

Objects are listed before manifests, never the other way round: what is uploaded and committed between the two is then named, not garbage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import structlog

from spotguard.core.garbage import InUse, is_data_key, old_enough, proves_ours
from spotguard.core.run_keys import RunKeys
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import ObjectFacts, ObjectMissing, ObjectStore
from spotguard.services.run.manifest_survey import ManifestSurveyor

log = structlog.get_logger()

_BATCH = 64


class MayNotRun(Exception):
    """The daemon drains, or is not (any more) the one who writes this run: nothing more may be deleted."""


class NotUnderstood(Exception):
    """A manifest of another format lies in the run: nobody here knows what it needs, so nothing is deleted."""


@dataclass(frozen=True, slots=True)
class Deleted:
    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(self.objects + other.objects, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class DeletionTools:
    """What it takes to delete safely."""

    store: ObjectStore
    keys: RunKeys
    clock: Clock
    surveyor: ManifestSurveyor
    may_run: Callable[[], bool]
    """Whether this daemon holds the claim and does not drain. Asked before every request that deletes."""
    in_use: Callable[[], Collection[str]]
    """Names of local checkpoints that are not committed, and keys (absolute or relative) that their commits may name."""

    def insist(self) -> None:
        """Raises MayNotRun."""
        if not self.may_run():
            raise MayNotRun

    def used(self) -> InUse:
        return InUse(self.keys, self.in_use())

    def store_now(self) -> float | None:
        """Seconds since the epoch by the store's clock; None as long as it is not known."""
        offset = self.store.clock_offset()
        return None if offset is None else self.clock.wall().timestamp() + offset


class Deletion:
    def __init__(self, tools: DeletionTools) -> None:
        self._tools = tools
        self._condemned: set[str] = set()

    def is_condemned(self, key: str) -> bool:
        """Whether the object at this absolute key may go at any moment: a commit must neither reuse it nor write there."""
        return key in self._condemned

    async def delete_unnamed(self, candidates: Iterable[str], *, only_old: bool) -> Deleted:
        """Delete those of these objects that are provably ours and that no manifest names; `only_old`: and that are older than 7 days.

        Raises MayNotRun, NotUnderstood or StoreError; what was not deleted by then stays. Cancelled: the same."""
        tools = self._tools
        proven = await self._prove([key for key in candidates if is_data_key(tools.keys, key)], only_old=only_old)
        used = tools.used()
        condemned = {found.key for found in proven if not used.has_object(found.key, found.metadata)}
        self._condemned |= condemned
        unanswered: set[str] = set()
        try:
            survey = await tools.surveyor.look()
            if survey.foreign:
                raise NotUnderstood(f"{survey.foreign[0]} is of another version: nothing is deleted beside it")
            named, protected = survey.named, InUse(tools.keys, survey.unreadable_names)
            going = [
                found
                for found in proven
                if found.key in condemned and found.key not in named and not protected.has_object(found.key, found.metadata)
            ]
            deleted = Deleted()
            for start in range(0, len(going), _BATCH):
                deleted += await self._delete(going[start : start + _BATCH], unanswered)
            return deleted
        finally:
            self._condemned -= condemned - unanswered

    async def delete_manifests(self, manifests: Sequence[str]) -> None:
        """Delete manifests by key. Raises MayNotRun, StoreError."""
        self._tools.insist()
        await self._tools.store.delete(manifests)

    async def _prove(self, candidates: Sequence[str], *, only_old: bool) -> list[ObjectFacts]:
        """Those that say themselves that they are ours, sorted by key. What they say does not change: nothing is ever overwritten."""
        proven: list[ObjectFacts] = []
        waiting = sorted(set(candidates))
        for start in range(0, len(waiting), _BATCH):
            answers = await asyncio.gather(*(self._facts(key) for key in waiting[start : start + _BATCH]), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                if answer is not None and self._is_ours(answer, only_old=only_old):
                    proven.append(answer)
        return proven

    def _is_ours(self, facts: ObjectFacts, *, only_old: bool) -> bool:
        if not proves_ours(self._tools.keys, facts.key, facts.metadata):
            return False
        now = self._tools.store_now()
        return not only_old or (now is not None and old_enough(facts.modified, now))

    async def _facts(self, key: str) -> ObjectFacts | None:
        try:
            return await self._tools.store.head(key)
        except ObjectMissing:
            return None

    async def _delete(self, found: Sequence[ObjectFacts], unanswered: set[str]) -> Deleted:
        self._tools.insist()
        used = self._tools.used()  # once more: whatever began to need it since is spared
        going = [facts for facts in found if not used.has_object(facts.key, facts.metadata)]
        if not going:
            return Deleted()
        keys = {facts.key for facts in going}
        unanswered |= keys
        await self._tools.store.delete(sorted(keys))
        unanswered -= keys
        for facts in going:
            log.debug("object.deleted", key=facts.key, size_bytes=facts.size)
        return Deleted(len(going), sum(facts.size for facts in going))
