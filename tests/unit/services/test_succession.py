"""Two daemons and one run: who writes until when, and what SIGTERM means meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.core.claim import ClaimPhase
from spotguard.core.exit_status import ExitStatus
from spotguard.core.notice import NoticeKind
from tests.support.machine import Machine, save_hf
from tests.support.memory_metadata import MemoryMetadataService
from tests.support.memory_store import Link, MemoryBucket
from tests.support.virtual_time import VirtualClock, run_virtual


async def phase(machine: Machine, wanted: ClaimPhase, within: float = 60) -> None:
    async with asyncio.timeout(within):
        await machine.guard.claim.state.until(lambda state: state.phase is wanted)


def test_after_its_release_a_fenced_daemon_stops_what_it_was_sending() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        old = Machine(bucket, clock=clock, link=Link(1_000_000))
        async with old.on():
            await phase(old, ClaimPhase.HELD)
            save_hf(old.disk, 100, size=300_000_000)
            old.disk.write("log.txt", b"x")
            old.guard.schedule.hint("checkpoint-100")
            await old.state_of("checkpoint-100", "uploading")
            new = Machine(bucket, clock=clock, name="i-2")
            async with new.on():
                await phase(old, ClaimPhase.FENCED)
                await asyncio.sleep(1)
                released_at = next(at for at, (_, key) in enumerate(bucket.log) if key.endswith("00000001.released.json"))
                await asyncio.sleep(400)
                assert not any("checkpoint-100" in key for _, key in bucket.log[released_at:])
                assert not old.manifests()

    run_virtual(story())


def test_sigterm_of_a_daemon_that_has_a_successor_ends_fenced_and_in_time_for_it() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        old = Machine(bucket, clock=clock, link=Link(1_000_000))
        async with old.on() as daemon:
            await phase(old, ClaimPhase.HELD)
            save_hf(old.disk, 100, size=300_000_000)
            old.guard.schedule.hint("checkpoint-100")
            await old.state_of("checkpoint-100", "uploading")
            claimed_at = clock.monotonic()
            new = Machine(bucket, clock=clock, name="i-2")
            async with new.on():
                await phase(old, ClaimPhase.SUCCEEDED)
                old.life.stop()
                assert await daemon is ExitStatus.FENCED
                assert clock.monotonic() - claimed_at <= 31

    run_virtual(story())


def test_a_successor_that_comes_during_the_shutdown_ends_it_before_it_writes_itself() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        old = Machine(bucket, clock=clock, link=Link(1_000_000))
        async with old.on() as daemon:
            await phase(old, ClaimPhase.HELD)
            save_hf(old.disk, 100, size=300_000_000)
            old.life.stop()
            await asyncio.sleep(1)
            new = Machine(bucket, clock=clock, name="i-2")
            async with new.on():
                assert await daemon is ExitStatus.FENCED
                assert any(key.endswith("00000001.released.json") for key in bucket.objects)
                assert not new.guard.may_write()

    run_virtual(story())


def test_a_drain_that_begins_after_the_successor_was_seen_is_announced_and_finished() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        imds = MemoryMetadataService(clock.wall)
        old = Machine(bucket, clock=clock, link=Link(1_000_000), metadata=imds)
        async with old.on():
            await phase(old, ClaimPhase.HELD)
            save_hf(old.disk, 100, size=50_000_000)
            old.guard.schedule.hint("checkpoint-100")
            await old.state_of("checkpoint-100", "uploading")
            new = Machine(bucket, clock=clock, name="i-2")
            async with new.on():
                await phase(old, ClaimPhase.SUCCEEDED)
                imds.give(NoticeKind.TERMINATE, seconds=120)
                async with asyncio.timeout(10):
                    while not any(key.endswith("00000001.draining.json") for key in bucket.objects):  # noqa: ASYNC110 - the bucket tells nobody
                        await asyncio.sleep(0.5)
                await old.state_of("checkpoint-100", "committed")
                assert not new.guard.may_write()
                await phase(old, ClaimPhase.FENCED, within=120)
                await phase(new, ClaimPhase.HELD)
                verdict = old.guard.drain.view.value.interruption
                assert verdict is not None
                assert verdict.verdict == "safe"

    run_virtual(story())


def test_a_drain_is_announced_as_it_begins_and_taken_back_with_the_notice() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        imds = MemoryMetadataService(clock.wall)
        old = Machine(bucket, clock=clock, metadata=imds)

        async def note_is(there: bool) -> None:
            async with asyncio.timeout(30):
                while any(key.endswith("00000001.draining.json") for key in bucket.objects) is not there:  # noqa: ASYNC110 - the bucket tells nobody
                    await asyncio.sleep(0.5)

        async with old.on():
            await phase(old, ClaimPhase.HELD)
            for _ in range(2):
                await note_is(False)
                imds.give(NoticeKind.TERMINATE, seconds=120)
                await note_is(True)
                imds.withdraw(NoticeKind.TERMINATE)
            await note_is(False)

    run_virtual(story())


def test_a_newcomer_counts_generations_from_what_its_predecessor_committed_last() -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        old = Machine(bucket, clock=clock, settle_seconds=2.0)
        async with old.on():
            await phase(old, ClaimPhase.HELD)
            new = Machine(bucket, clock=clock, name="i-2", settle_seconds=2.0)
            async with new.on():
                new.disk.write("last.ckpt", b"newcomer")
                await phase(new, ClaimPhase.WAITING)
                await asyncio.sleep(3)
                old.disk.write("last.ckpt", b"old")
                old.guard.schedule.hint("last.ckpt")
                await old.state_of("last.ckpt", "committed")
                await new.state_of("last.ckpt", "committed", within=120)
                assert sorted(m["generation"] for m in new.manifests().values()) == [1, 2]

    run_virtual(story())


@pytest.mark.parametrize("files", [0, 1])
def test_sigterm_while_the_claim_waits_ends_at_once_when_there_is_nothing(files: int) -> None:
    async def story() -> None:
        clock = VirtualClock()
        bucket = MemoryBucket(clock)
        old = Machine(bucket, clock=clock)
        async with old.on():
            await phase(old, ClaimPhase.HELD)
            new = Machine(bucket, clock=clock, name="i-2", shutdown_grace_seconds=8)
            async with new.on() as daemon:
                for number in range(files):
                    save_hf(new.disk, number)
                await asyncio.sleep(2)
                began = clock.monotonic()
                new.life.stop()
                assert await daemon is (ExitStatus.UNCOMMITTED if files else ExitStatus.DONE)
                assert clock.monotonic() - began < (15 if files else 2)

    run_virtual(story())
