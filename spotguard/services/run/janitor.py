"""The janitor: gives up what the retention rule gives up, and at most daily sweeps away what nothing needs (docs/storage-format.md).

Retention runs after commits, deletes the manifests first, and then the objects that no remaining manifest names; killed in between it
leaves objects without a manifest, which restore never sees and a later sweep removes. The sweep deletes only what
`spotguard.services.run.deletion` can prove to be garbage. When it last ran stands in the bucket; losing that costs one more sweep.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from spotguard.core.garbage import is_abandoned, is_data_key, old_enough
from spotguard.core.retention import RetentionRule, given_up
from spotguard.core.run_keys import ManifestKey, RunKeys
from spotguard.core.stored_fields import parse_time
from spotguard.core.timestamps import format_time
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoreError, UploadMissing
from spotguard.ports.part_transfer import PartTransfer, Upload
from spotguard.services.run.deletion import Deleted, Deletion, DeletionTools, MayNotRun, NotUnderstood
from spotguard.services.run.manifest_survey import ManifestSurvey, ManifestSurveyor

log = structlog.get_logger()

SWEEP_EVERY_SECONDS = 24 * 3600.0
FIRST_SWEEP_SECONDS = 600.0
"""After the start, when the machine has better things to do."""
_ROUND_SECONDS = 60.0
_BETWEEN_ROUNDS_SECONDS = 5.0
_AFTER_FAILURE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    deleted: Deleted = field(default_factory=Deleted)
    aborted_uploads: int = 0


class Janitor:
    """One per daemon. `is_condemned` must be asked by whoever commits, see `spotguard.services.run.deletion`."""

    def __init__(
        self,
        store: ObjectStore,
        transfer: PartTransfer,
        keys: RunKeys,
        clock: Clock,
        rule: RetentionRule,
        *,
        may_run: Callable[[], bool],
        in_use: Callable[[], Collection[str]],
        on_given_up: Callable[[Collection[str]], None] = lambda keys: None,
    ) -> None:
        """`on_given_up` hears the keys of the manifests that retention deleted."""
        self._on_given_up = on_given_up
        self._surveyor = ManifestSurveyor(store, keys)
        self._tools = DeletionTools(store, keys, clock, self._surveyor, may_run, in_use)
        self._deletion = Deletion(self._tools)
        self._transfer = transfer
        self._rule = rule
        self._released: set[str] = set()
        self._wake = asyncio.Event()
        self._failures = 0
        self._swept_at: datetime | None = None

    def is_condemned(self, key: str) -> bool:
        """Whether the object at this absolute key may be deleted at any moment: do not reuse it, do not write there."""
        return self._deletion.is_condemned(key)

    def note_commit(self) -> None:
        """A checkpoint was committed: the rule may give up another one now."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. A failure of the store is logged and tried again later; none gets out of here."""
        started = self._tools.clock.monotonic()
        self._wake.set()
        while True:
            woken = await self._next_round()
            if not self._tools.may_run():
                await asyncio.sleep(_BETWEEN_ROUNDS_SECONDS)  # the wish stays noted
                continue
            sweeps = self._tools.clock.monotonic() - started >= FIRST_SWEEP_SECONDS
            pause = await self._round(retains=woken or bool(self._released), sweeps=sweeps)
            await asyncio.sleep(pause)

    async def retain(self) -> tuple[str, ...]:
        """Apply the retention rule once; returns the keys of the manifests it gave up.

        Raises MayNotRun, NotUnderstood or StoreError; then some of it may have happened, which is safe at every point."""
        if self._rule.keeps_all:
            return ()
        survey = await self._looked()
        now = self._tools.store_now()
        gone = () if now is None else self._given_up(survey, now)
        if gone:
            # held in memory before the manifests go: a failure right after it must not leave their objects to the sweep
            for manifest in gone:
                self._released |= survey.names[manifest.key]
            await self._deletion.delete_manifests([manifest.key for manifest in gone])
            self._on_given_up([manifest.key for manifest in gone])
        if self._released:
            deleted = await self._deletion.delete_unnamed(self._released, only_old=False)
            self._released.clear()
            log.info("retention.applied", manifests=len(gone), objects=deleted.objects, size_bytes=deleted.bytes)
        return tuple(manifest.key for manifest in gone)

    async def sweep(self) -> Swept:
        """Delete garbage and abort dead uploads once. Raises as `retain` does."""
        tools = self._tools
        tools.insist()
        listed = await tools.store.list(tools.keys.root)  # before the manifests: see the argument in `deletion`
        now = tools.store_now()
        if now is None:
            return Swept()
        old = [stored.key for stored in listed if is_data_key(tools.keys, stored.key) and old_enough(stored.modified, now)]
        named = (await self._looked()).named
        deleted = await self._deletion.delete_unnamed((key for key in old if key not in named), only_old=True)
        aborted = await self._abort_dead_uploads(now)
        log.info("run.swept", objects=deleted.objects, size_bytes=deleted.bytes, aborted_uploads=aborted)
        return Swept(deleted, aborted)

    async def _looked(self) -> ManifestSurvey:
        self._tools.insist()
        survey = await self._surveyor.look()
        if survey.foreign:
            raise NotUnderstood(f"{survey.foreign[0]} is of another version: nothing is deleted beside it")
        return survey

    def _given_up(self, survey: ManifestSurvey, now: float) -> tuple[ManifestKey, ...]:
        return given_up(survey.manifests, self._rule, now=now, unreadable=survey.unreadable, in_use=self._tools.in_use())

    async def _abort_dead_uploads(self, now: float) -> int:
        """Uploads carry no metadata to prove whose they are; but one under our prefix that nobody added to for a day serves nobody."""
        aborted = 0
        for upload in await self._transfer.unfinished(self._tools.keys.root):
            usable = is_data_key(self._tools.keys, upload.key) and not self._tools.used().has_key(upload.key)
            if usable and is_abandoned(upload.initiated, (), now) and await self._is_idle(upload, now):
                self._tools.insist()
                await self._transfer.abort(upload)
                aborted += 1
        return aborted

    async def _is_idle(self, upload: Upload, now: float) -> bool:
        try:
            parts = await self._transfer.parts(upload)
        except UploadMissing:
            return False  # completed or aborted meanwhile
        return is_abandoned(upload.initiated, [part.modified for part in parts], now)

    async def _next_round(self) -> bool:
        """Wait for a commit or the time of a round; whether it was a commit."""
        try:
            async with asyncio.timeout(_ROUND_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _round(self, *, retains: bool, sweeps: bool) -> float:
        """Do what is due; how many seconds to leave the store alone after it."""
        try:
            if retains:
                self._wake.clear()
                await self.retain()
            if sweeps and await self._sweep_is_due():
                await self.sweep()
                await self._note_sweep()
        except MayNotRun:
            self._wake.set()
            return _BETWEEN_ROUNDS_SECONDS
        except (StoreError, NotUnderstood) as error:
            self._wake.set()
            self._failures += 1
            if self._failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, …
                log.warning("janitor.failed", error=str(error), failures=self._failures)
            return _AFTER_FAILURE_SECONDS
        if self._failures:
            log.info("janitor.recovered", failures=self._failures)
            self._failures = 0
        return _BETWEEN_ROUNDS_SECONDS

    async def _sweep_is_due(self) -> bool:
        """Asks the bucket once, then remembers."""
        if self._swept_at is None:
            try:
                document = json.loads(await self._tools.store.read(self._tools.keys.janitor))
                self._swept_at = parse_time(document["swept_at"])
            except (ObjectMissing, ValueError, KeyError, TypeError):
                return True  # never, or not to be read: one sweep too many harms nobody
        return (self._now() - self._swept_at).total_seconds() >= SWEEP_EVERY_SECONDS

    async def _note_sweep(self) -> None:
        self._swept_at = self._now()
        document = {"swept_at": format_time(self._swept_at)}
        await self._tools.store.replace(self._tools.keys.janitor, json.dumps(document).encode())

    def _now(self) -> datetime:
        now = self._tools.store_now()
        return self._tools.clock.wall() if now is None else datetime.fromtimestamp(now, UTC)
