"""Claims over a store that loses requests and answers, denies, is away or damaged."""

from __future__ import annotations

import asyncio
import random

import pytest

from spotguard.core.checkpoint import CompleteBy, Unit
from spotguard.core.manifest import Host, Manifest
from spotguard.core.manifest_format import encode
from spotguard.core.problem import ProblemCode
from spotguard.services.run.earlier_claims import claimed_elsewhere
from tests.support.faulty_store import Fault, Faults
from tests.support.memory_store import MemoryBucket
from tests.support.virtual_time import VirtualClock, run_virtual
from tests.unit.services.claim_world import KEYS, Daemon, P, end, live, new_bucket


def test_a_lost_answer_to_the_claim_is_found_out_by_its_nonce() -> None:
    async def main() -> None:
        faults = Faults()
        faults.plan("create", Fault.LOST_ANSWER)
        bucket = new_bucket()
        daemon = Daemon(bucket, "a", faults=faults)
        await daemon.acquire()
        assert faults.fired[Fault.LOST_ANSWER] == 1
        assert daemon.claim.state.value.number == 1
        assert [key for _, key in bucket.log] == [KEYS.claim(1)]

    run_virtual(main())


def test_a_lost_answer_whose_number_was_passed_meanwhile_gives_way() -> None:
    async def main() -> None:
        faults = Faults()
        faults.plan("create", Fault.LOST_ANSWER)
        bucket = new_bucket()
        first = Daemon(bucket, "a", faults=faults)
        waiting = asyncio.create_task(first.acquire())
        await asyncio.sleep(0.5)  # between the lost answer and the next try
        assert faults.fired
        second = Daemon(bucket, "b")
        await asyncio.gather(waiting, second.acquire())
        assert (first.phase, second.phase) == (P.FENCED, P.HELD)

    run_virtual(main())


def test_a_store_that_ignores_conditions_still_has_one_holder() -> None:
    async def main() -> None:
        bucket = MemoryBucket(VirtualClock(), conditional_writes=False)
        daemons = [Daemon(bucket, name) for name in "abc"]
        tasks = [asyncio.create_task(live(daemon)) for daemon in daemons]
        await asyncio.sleep(200)
        assert sorted(daemon.phase for daemon in daemons) == [P.FENCED, P.FENCED, P.HELD]
        await end(tasks)

    run_virtual(main())


def test_a_store_that_cannot_be_reached_at_the_start_is_asked_on_and_shown() -> None:
    async def main() -> None:
        faults = Faults()
        faults.down = True
        daemon = Daemon(new_bucket(), "a", faults=faults)
        waiting = asyncio.create_task(daemon.acquire())
        await asyncio.sleep(600)
        assert daemon.problems.stands(ProblemCode.STORE_UNREACHABLE)
        assert 20 <= faults.calls.total() <= 40
        faults.down = False
        await waiting
        assert daemon.phase is P.HELD
        assert daemon.problems.standing == ()

    run_virtual(main())


def test_a_denial_is_shown_and_asked_again_slowly() -> None:
    async def main() -> None:
        faults = Faults()
        faults.denied = True
        daemon = Daemon(new_bucket(), "a", faults=faults)
        waiting = asyncio.create_task(daemon.acquire())
        await asyncio.sleep(301)
        assert daemon.problems.stands(ProblemCode.STORE_DENIED)
        assert faults.calls.total() <= 11
        faults.denied = False
        await waiting
        assert daemon.phase is P.HELD

    run_virtual(main())


def test_an_outage_while_waiting_is_no_release() -> None:
    async def main() -> None:
        bucket, faults = new_bucket(), Faults()
        await Daemon(bucket, "old").acquire()
        newcomer = Daemon(bucket, "new", faults=faults)
        waiting = asyncio.create_task(newcomer.acquire())
        await asyncio.sleep(5)
        faults.down = True
        await asyncio.sleep(300)
        assert newcomer.phase is P.WAITING
        faults.down = False
        await waiting
        assert newcomer.phase is P.HELD

    run_virtual(main())


def test_a_holder_that_cannot_ask_keeps_its_claim_and_learns_later() -> None:
    async def main() -> None:
        bucket, faults = new_bucket(), Faults()
        holder = Daemon(bucket, "old", faults=faults)
        await holder.acquire()
        watching = asyncio.create_task(holder.claim.watch())
        faults.down = True
        await Daemon(bucket, "new").acquire()
        assert holder.phase is P.HELD
        faults.down = False
        state = await watching
        assert state.phase is P.SUCCEEDED
        assert state.finish_by is not None
        assert state.finish_by <= holder.clock.monotonic(), "nobody waits for it any more"

    run_virtual(main())


def test_a_release_is_tried_again_and_is_fenced_even_when_it_cannot_be_written() -> None:
    async def main() -> None:
        bucket, faults = new_bucket(), Faults()
        first = Daemon(bucket, "a", faults=faults)
        await first.acquire()
        faults.plan("create", Fault.UNAVAILABLE, Fault.LOST_ANSWER)
        assert await first.claim.release()
        second = Daemon(bucket, "b", faults=faults)
        await second.acquire()
        faults.down = True
        assert not await second.claim.release()
        assert not second.claim.state.value.may_write

    run_virtual(main())


def test_a_damaged_claim_of_somebody_counts_and_is_waited_for() -> None:
    async def main() -> None:
        bucket = new_bucket()
        bucket.write("create", KEYS.claim(41), b"\xff garbage", None, only_new=True)
        daemon = Daemon(bucket, "a")
        assert await daemon.acquire() >= 30
        assert daemon.claim.state.value.number == 42

    run_virtual(main())


@pytest.mark.parametrize("seed", range(40))
def test_whatever_gets_lost_at_most_one_daemon_holds_and_the_highest_number_ends_up_holding(seed: int) -> None:
    """Daemons on different hosts start at random moments over a store that loses requests and answers."""

    async def main() -> Faults:
        rng = random.Random(seed)
        faults = Faults(rng, {Fault.LOST_ANSWER: 0.1, Fault.UNAVAILABLE: 0.1, Fault.CONFLICT: 0.05})
        bucket = new_bucket()
        daemons = [Daemon(bucket, f"h{n}", faults=faults) for n in range(4)]
        tasks = [asyncio.create_task(live(daemon, rng.uniform(0, 90))) for daemon in daemons]
        for _ in range(400):
            await asyncio.sleep(0.5)
            holding = [daemon for daemon in daemons if daemon.phase is P.HELD and not daemon.faults.down]
            fresh = [daemon for daemon in holding if KEYS.claim((daemon.claim.state.value.number or 0) + 1) not in bucket.objects]
            assert len(fresh) <= 1
        await asyncio.sleep(200)
        assert sorted(daemon.phase for daemon in daemons) == [P.FENCED, P.FENCED, P.FENCED, P.HELD]
        top = max(daemons, key=lambda daemon: daemon.claim.state.value.number or 0)
        assert top.phase is P.HELD
        await end(tasks)
        return faults

    assert run_virtual(main()).fired


def test_sync_steps_back_before_another_host_that_commits() -> None:
    async def main() -> None:
        bucket = new_bucket()
        other = Daemon(bucket, "other")
        store = other.store
        me = Host("me", "i-me")

        async def busy() -> str | None:
            return await claimed_elsewhere(store, KEYS, host=me, now=other.clock.wall())

        assert await busy() is None
        await other.acquire()
        assert await busy() is None
        now = other.clock.wall()
        manifest = Manifest("c-1", "", 1, "hf-trainer", Unit.DIRECTORY, CompleteBy.MARKER, 1, now, now, "save", other.host, 0, ())
        await store.create(KEYS.manifest("c-1", 1, now), encode(manifest))
        await asyncio.sleep(30)
        assert await busy() is not None
        assert await claimed_elsewhere(store, KEYS, host=other.host, now=other.clock.wall()) is None
        await asyncio.sleep(31)
        assert await busy() is None

    run_virtual(main())
