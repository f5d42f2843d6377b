"""Before training goes on: has the previous holder finished, has the training, and is this machine about to go?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from spotguard.core.claim import describe, highest, still_waiting_for
from spotguard.core.manifest import Host
from spotguard.core.notice import NoticeKind, Sighting
from spotguard.core.run_keys import RunKeys
from spotguard.ports.clock import Clock
from spotguard.ports.metadata_service import MetadataService, MetadataUnavailable
from spotguard.ports.object_store import ObjectMissing, ObjectStore
from spotguard.services.run.earlier_claims import EarlierClaims, list_claims

_LOOK_SECONDS = 2.0
_METADATA_SECONDS = 5.0

Say = Callable[[str], None]
"""Takes one line for people."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Waits for the host that wrote the run before, because which checkpoint is the newest is decided after it has let go.

    Nobody is waited for who is this host, has released, or has recorded its verdict. One that drains is waited for up to its deadline
    and 15 s. One that says nothing keeps only `patient` callers (who are about to train), for 30 s: long enough for the daemon of this
    machine to claim and for the other to answer; a mere look at the run must not cost that.
    """

    store: ObjectStore
    keys: RunKeys
    clock: Clock
    host: Host

    async def wait(self, *, patient: bool, say: Say) -> None:
        """Returns when the newest checkpoint may be looked for. Raises StoreError."""
        began = self.clock.monotonic()
        told = ""
        while True:
            listing = await list_claims(self.store, self.keys)
            if not listing:
                return
            earlier = await EarlierClaims(self.store, self.keys, highest(listing) + 1).examine(listing)
            waited = self.clock.monotonic() - began if patient else inf
            store_now = self.clock.wall().timestamp() + (self.store.clock_offset() or 0.0)
            holders = still_waiting_for(earlier, own=self.host, waited_seconds=waited, store_now=store_now)
            if not holders:
                return
            does = "finishes its drain" if holders[0].draining_until is not None else "lets go of the run"
            words = f"waiting until {describe(holders[0].host)} {does}"
            if words != told:
                say(words)
                told = words
            await asyncio.sleep(_LOOK_SECONDS)


async def finished_note(store: ObjectStore, keys: RunKeys) -> str | None:
    """When the training is recorded as finished: since when, in words; None when it is not. Raises StoreError."""
    try:
        body = await store.read(keys.finished)
    except ObjectMissing:
        return None
    try:
        document = json.loads(body)
        moment = document.get("finished_at")
    except (ValueError, RecursionError, AttributeError):
        moment = None
    return f"at {moment}" if isinstance(moment, str) else "earlier"


async def pending_notice(metadata: MetadataService | None, *, rebalance_drains: bool = False) -> str | None:
    """What the metadata service says of the end of this machine, in words; None for nothing, and for a service that does not answer."""
    if metadata is None:
        return None
    try:
        sighting: Sighting = await asyncio.wait_for(metadata.poll(), _METADATA_SECONDS)
    except (MetadataUnavailable, TimeoutError):
        return None
    for notice in sighting.notices:
        seconds = None if notice.at is None else max(0.0, notice.at - notice.seen_date)
        if notice.kind is NoticeKind.REBALANCE and not rebalance_drains:
            continue  # a hint that the machine may go some day
        if notice.kind is NoticeKind.MAINTENANCE and seconds is not None and seconds > MAINTENANCE_SECONDS:
            continue
        when = "" if seconds is None else f" in {seconds:.0f} s"
        return f"this instance will {_WORDS[notice.kind]}{when}"
    return None


MAINTENANCE_SECONDS = 120.0
"""Scheduled maintenance is an interruption from so long before its start."""

_WORDS = {
    NoticeKind.TERMINATE: "be terminated",
    NoticeKind.STOP: "be stopped",
    NoticeKind.REBALANCE: "probably be interrupted",
    NoticeKind.HIBERNATE: "be hibernated",
    NoticeKind.MAINTENANCE: "go into maintenance",
    NoticeKind.SCALE_IN: "be taken out of its group",
}
