"""What must hold of the destination before a run is written to: no run inside another, and conditions that are heeded."""

from __future__ import annotations

from uuid import uuid4

import structlog

from spotguard.core.problem import ProblemCode
from spotguard.core.run_keys import RunKeys
from spotguard.ports.object_store import ObjectExists, ObjectStore, StoreDenied, StoreError
from spotguard.services.problem_board import ProblemBoard

log = structlog.get_logger()

_LOOK_INSIDE = 10_000
"""How many keys below a prefix that is no run yet are looked through for another run's records."""
_OWN = ".spotguard/"


class NestedRun(Exception):
    """The prefix lies inside another run, or around one. `str()` is one line with the other's address."""

    exit_status = 2


async def refuse_nested(store: ObjectStore, keys: RunKeys) -> None:
    """Raises NestedRun, or a StoreError. A prefix that is a run already is not looked into again: one request then."""
    for outer in _prefixes_around(keys.prefix):
        marks = RunKeys(keys.bucket, outer)
        for records in (marks.claims, marks.manifests):
            try:
                found = await store.list(records, limit=1)
            except StoreDenied as error:  # a policy for this prefix alone is the better one: it must not keep the run from beginning
                log.warning("run.not_checked", around=marks.url, error=str(error))
                continue
            if found:
                raise NestedRun(f"{keys.url} lies inside the run {marks.url}: choose a prefix beside it")
    if await store.list(keys.claims, limit=1):
        return
    for stored in await store.list(keys.root, limit=_LOOK_INSIDE):
        inside = keys.relative(stored.key)
        at = inside.find("/" + _OWN)
        if at >= 0:
            raise NestedRun(f"{keys.url} lies around the run {keys.url}/{inside[:at]}: choose a prefix of its own")


async def probe_conditions(store: ObjectStore, keys: RunKeys, problems: ProblemBoard) -> bool:
    """Whether `If-None-Match: *` is heeded; the problem `no-conditional-writes` stands where it is not. Raises StoreError."""
    key = f"{keys.own}probe/{uuid4().hex}"
    await store.create(key, b"1")
    try:
        await store.create(key, b"2")
    except ObjectExists:
        heeded = True
    else:
        heeded = False
    try:
        await store.delete([key])
    except StoreError as error:  # no permission to delete: one byte stays, and uploads need none
        log.warning("probe.not_deleted", key=key, error=str(error))
    if heeded:
        problems.clear(ProblemCode.NO_CONDITIONAL_WRITES)
    else:
        problems.raise_(
            ProblemCode.NO_CONDITIONAL_WRITES,
            "the store overwrites objects although it is asked not to: two daemons on one run could damage each other's files",
            "use a store that heeds If-None-Match, and make sure that one daemon at a time writes this run",
        )
    return heeded


def _prefixes_around(prefix: str) -> list[str]:
    """Every prefix that this one lies inside, the whole bucket included."""
    parts = prefix.split("/") if prefix else []
    return ["/".join(parts[:count]) for count in range(len(parts))]
