"""Does the newest checkpoint get out between a notice and its deadline? Measured, by sending bytes that are thrown away."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from spotguard.assembly.doctor.patient import SEE_BUCKET, Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.exposure import NOTICE_SECONDS, flush_seconds, longest_fitting
from spotguard.core.phrasing import readable_bytes
from spotguard.core.status import DaemonState
from spotguard.ports.daemon_control import DaemonRefused, NoDaemon
from spotguard.ports.object_store import StoreError
from spotguard.ports.part_transfer import Slice, Upload

NAME = "throughput"
_PART_BYTES = 8 << 20
_SECONDS = 3.0
_MOST_BYTES = 512 << 20
_FIX = (
    "save less at a time (save_only_model, sharding), use an instance with more network bandwidth, or a gateway endpoint for S3 in the VPC"
)


async def examine(patient: Patient) -> Sequence[Finding]:
    if await patient.store_trouble() is not None:
        return [Finding(NAME, Verdict.SKIPPED, SEE_BUCKET)]
    if await _is_draining(patient):
        return [Finding(NAME, Verdict.SKIPPED, "not measured: the daemon is draining and needs the link for itself")]
    try:
        rate = await _measure(patient)
    except StoreError as error:
        return [Finding(NAME, Verdict.SKIPPED, f"could not be measured: {error}")]
    available = NOTICE_SECONDS - patient.config.interruption.margin_seconds
    said = f"{readable_bytes(rate)}/s measured"
    size = await patient.newest_bytes()
    if size is None:
        most = readable_bytes(longest_fitting(available, rate) or 0)
        return [Finding(NAME, Verdict.OK, f"{said}: up to {most} get out in the {available:g} s that a notice leaves")]
    needed = flush_seconds(size, rate) or 0.0
    found = f"{said}: the newest checkpoint ({readable_bytes(size)}) takes {needed:.0f} of the {available:g} s that a notice leaves"
    if needed > available:
        return [Finding(NAME, Verdict.ERROR, found, "a checkpoint that is saved at the notice would not get out", _FIX)]
    if needed > available / 2:
        why = "the trainer's own save takes its share of that time too"
        return [Finding(NAME, Verdict.WARNING, found, why, _FIX)]
    return [Finding(NAME, Verdict.OK, found)]


async def _is_draining(patient: Patient) -> bool:
    try:
        _, status = await patient.daemon()
    except (NoDaemon, DaemonRefused, TimeoutError):
        return False
    return status.state is DaemonState.DRAINING


async def _measure(patient: Patient) -> float:
    """Bytes per second, over as many parts in flight as the daemon has. Leaves nothing behind. Raises StoreError."""
    transfer = patient.transfer
    upload = await transfer.begin(patient.own_key, metadata={})
    fd = os.memfd_create("spotguard-doctor")
    try:
        os.write(fd, os.urandom(_PART_BYTES))
        return await _send_for_a_while(patient, upload, fd)
    finally:
        os.close(fd)
        await transfer.abort(upload)


async def _send_for_a_while(patient: Patient, upload: Upload, fd: int) -> float:
    began, sent, number = time.monotonic(), 0, 0

    async def worker() -> None:
        nonlocal sent, number
        while time.monotonic() - began < _SECONDS and number * _PART_BYTES < _MOST_BYTES:
            number += 1
            await patient.transfer.send_part(upload, number, Slice(fd, 0, _PART_BYTES))
            sent += _PART_BYTES

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(patient.config.upload.concurrency):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise next((e for e in failures.exceptions if isinstance(e, StoreError)), failures.exceptions[0]) from failures
    return sent / max(time.monotonic() - began, 0.001)
