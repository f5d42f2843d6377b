"""The record that a training has finished: with it, `resume` and `run` start nothing any more."""

from __future__ import annotations

import json

import structlog

from spotguard.core.manifest import Host
from spotguard.core.run_keys import RunKeys
from spotguard.core.timestamps import format_time
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import ObjectStore, StoreError

log = structlog.get_logger()


async def record_finish(store: ObjectStore, keys: RunKeys, clock: Clock, *, host: Host, checkpoint: str | None) -> bool:
    """Write it; `checkpoint` is the newest that is committed. False, and logged, when the store does not take it: then the next start
    restores the last checkpoint and finds nothing more to do, which costs a start and no training."""
    document = {
        "format": 1,
        "finished_at": format_time(clock.wall()),
        "checkpoint": checkpoint,
        "host": {"hostname": host.hostname, "instance_id": host.instance_id},
    }
    try:
        await store.replace(keys.finished, json.dumps(document, ensure_ascii=False, indent=1).encode())
    except StoreError as error:
        log.error("finish.not_recorded", key=keys.finished, error=str(error))
        return False
    log.info("finish.recorded", key=keys.finished, checkpoint=checkpoint)
    return True


async def withdraw_finish(store: ObjectStore, keys: RunKeys) -> None:
    """Training goes on (`--again`): an interruption of it must not be taken for the end. A failure is logged."""
    try:
        await store.delete([keys.finished])
    except StoreError as error:
        log.error("finish.not_withdrawn", key=keys.finished, error=str(error), fix="delete it, or give --again at each start")
