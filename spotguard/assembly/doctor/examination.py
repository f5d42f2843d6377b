"""Runs all checks at once, each with its own limit of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from spotguard.assembly.doctor import (
    bucket,
    clock,
    credentials,
    daemon,
    disk,
    inotify,
    metadata,
    permissions,
    readability,
    region,
    store_rules,
    throughput,
    torchrun,
    trainer,
    watching,
)
from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict

Check = Callable[[Patient], Awaitable[Sequence[Finding]]]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        credentials.NAME: credentials.examine,
        bucket.NAME: bucket.examine,
        permissions.NAME: permissions.examine,
        region.NAME: region.examine,
        "store-rules": store_rules.examine,
        throughput.NAME: throughput.examine,
        clock.NAME: clock.examine,
        metadata.NAME: metadata.examine,
        trainer.NAME: trainer.examine,
        torchrun.NAME: torchrun.examine,
        watching.NAME: watching.examine,
        readability.NAME: readability.examine,
        inotify.NAME: inotify.examine,
        disk.NAME: disk.examine,
        daemon.NAME: daemon.examine,
    }
)
"""In the order in which they are told."""

LIMIT_SECONDS = 30.0


async def examine_all(patient: Patient, *, skip: Collection[str] = (), limit_seconds: float = LIMIT_SECONDS) -> list[Finding]:
    """What every check found, in order. One that hangs or breaks is a finding of its own and keeps no other from answering."""

    async def one(name: str, check: Check) -> Sequence[Finding]:
        try:
            async with asyncio.timeout(limit_seconds):
                return await check(patient)
        except TimeoutError:
            why = "what it looks at does not answer, or very slowly"
            return [Finding(name, Verdict.WARNING, f"no answer within {limit_seconds:g} s", why, "try again; -v shows where it hangs")]
        except Exception as error:  # noqa: BLE001 - a check that breaks must not hide what the others found
            found = f"the check itself failed: {type(error).__name__}: {error}"
            return [Finding(name, Verdict.ERROR, found, "nothing is known of it", "run it again with -v, and report it")]

    answers = await asyncio.gather(*(one(name, check) for name, check in CHECKS.items() if name not in skip))
    return [finding for findings in answers for finding in findings]
