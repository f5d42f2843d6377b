"""Reads what the bucket tells of the claims below ours, and of another host that writes the run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from spotguard.core.claim import (
    BUSY_SECONDS,
    EarlierClaim,
    busy_elsewhere,
    decode_claim,
    drain_end,
    has_verdict,
    highest,
    nearest_below,
    was_held,
)
from spotguard.core.manifest import Host, ManifestError
from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import ClaimKey, RunKeys
from spotguard.ports.object_store import ObjectMissing, ObjectStore, StoredObject

Listing = Mapping[ClaimKey, StoredObject]


async def list_claims(store: ObjectStore, keys: RunKeys) -> Listing:
    """Every claim and note of the run. Raises StoreError."""
    listed = [(keys.parse_claim(stored.key), stored) for stored in await store.list(keys.claims)]
    return {key: stored for key, stored in listed if key is not None}


class EarlierClaims:
    """What is known of the claims below `own`. Bodies of claims never change, so each is read once."""

    def __init__(self, store: ObjectStore, keys: RunKeys, own: int) -> None:
        self._store = store
        self._keys = keys
        self._own = own
        self._hosts: dict[int, Host | None] = {}

    async def examine(self, listing: Listing) -> Sequence[EarlierClaim]:
        """The claims below ours that may matter, as this listing and the notes that it names tell. Raises StoreError."""
        numbers = nearest_below(self._own, (key.number for key in listing if not key.note))
        found = await asyncio.gather(*(self._examine(number, listing) for number in numbers))
        undecided = [claim for claim in found if not claim.released and claim.host is not None]
        if not undecided:
            return found
        records = await self._store.list(self._keys.interruptions)
        verdicts = await asyncio.gather(*(self._has_verdict(claim, listing, records) for claim in undecided))
        recorded = {claim.number for claim, verdict in zip(undecided, verdicts, strict=True) if verdict}
        return [replace(claim, verdict_recorded=claim.number in recorded) for claim in found]

    async def _examine(self, number: int, listing: Listing) -> EarlierClaim:
        released, draining = (self._find(number, note, listing) for note in ("released", "draining"))
        if released:
            return EarlierClaim(number, None, released=True, held=was_held(await self._read(released.key)))
        if number not in self._hosts:
            self._hosts[number] = decode_claim(number, await self._read(self._keys.claim(number))).host
        until = drain_end(await self._read(draining.key), written=draining.modified) if draining else None
        return EarlierClaim(number, self._hosts[number], draining_until=until)

    async def _has_verdict(self, claim: EarlierClaim, listing: Listing, records: Sequence[StoredObject]) -> bool:
        """Both times are S3's, so nobody's clock matters."""
        claimed, host = self._find(claim.number, "", listing), claim.host
        if claimed is None or host is None:
            return False
        names = {f"{quote(name, safe='')}.json" for name in (host.instance_id, host.hostname) if name}
        tail = len(self._keys.interruptions) + len("20261123T200000Z-")
        of_host = [record for record in records if record.key[tail:] in names and record.modified >= claimed.modified]
        newest = max(of_host, key=lambda record: (record.modified, record.key), default=None)
        return newest is not None and has_verdict(await self._read(newest.key))

    def _find(self, number: int, note: str, listing: Listing) -> StoredObject | None:
        return listing.get(ClaimKey(number, note, self._keys.claim(number, note)))

    async def _read(self, key: str) -> bytes:
        """Empty when it has gone since it was listed."""
        try:
            return await self._store.read(key, max_bytes=1 << 20)
        except ObjectMissing:
            return b""


async def claimed_elsewhere(store: ObjectStore, keys: RunKeys, *, host: Host, now: datetime) -> str | None:
    """Why `sync` of `host` must not write now, or None: see `core.claim.busy_elsewhere`. `now` is S3's clock. Raises StoreError."""
    listing = await list_claims(store, keys)
    number = highest(listing)
    holder = next(iter(await EarlierClaims(store, keys, number + 1).examine(listing)), None)
    if holder is None or holder.released:
        return None
    manifests = await store.list(keys.manifests)
    newest = max(manifests, key=lambda stored: (stored.modified, stored.key), default=None)
    if newest is None or now.timestamp() - newest.modified > BUSY_SECONDS:
        return None
    try:
        manifest = decode(await store.read(newest.key))
    except (ManifestError, ObjectMissing):
        return None
    return busy_elsewhere(holder, manifest, own=host, now=now)
