"""One interruption as it was, kept in the bucket for people and for the next machine (docs/storage-format.md)."""

from __future__ import annotations

import json

import structlog

from spotguard.core.interruption_document import interruption_document
from spotguard.core.manifest import Host
from spotguard.core.run_keys import RunKeys
from spotguard.core.status import CheckpointStatus, InterruptionStatus
from spotguard.ports.object_store import ObjectExists, ObjectStore, StoreError

log = structlog.get_logger()


def encode_record(status: InterruptionStatus, *, version: str, host: Host, checkpoints: tuple[CheckpointStatus, ...]) -> bytes:
    """The `interruption` object of /status with version, host and the checkpoints' states."""
    document = interruption_document(status) | {
        "version": version,
        "host": {"hostname": host.hostname, "instance_id": host.instance_id},
        "checkpoints": [
            {"name": c.name, "state": c.state.value, "bytes": c.bytes, "generation": c.generation, "why": c.why} for c in checkpoints
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


async def write_record(store: ObjectStore, keys: RunKeys, host: Host, status: InterruptionStatus, body: bytes) -> None:
    """Write it, or write it anew after a verdict that changed. A store that fails costs the record, not the drain."""
    key = keys.interruption(status.detected_at, host.instance_id or host.hostname)
    try:
        try:
            await store.create(key, body)
        except ObjectExists:
            await store.replace(key, body)
    except StoreError as error:
        log.warning("interruption_record.failed", key=key, error=str(error))
