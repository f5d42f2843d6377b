"""One writer per run: who waits for whom, and how a run changes hands."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from spotguard.core.problem import ProblemCode
from tests.support.memory_store import MemoryBucket
from tests.support.virtual_time import START, run_virtual
from tests.unit.services.claim_world import KEYS, Daemon, P, document, new_bucket


def test_the_first_claim_of_a_run_is_held_at_once() -> None:
    async def main() -> None:
        bucket = new_bucket()
        daemon = Daemon(bucket, "a")
        assert await daemon.acquire() == 0
        state = daemon.claim.state.value
        assert (state.phase, state.number, state.may_write) == (P.HELD, 1, True)
        body = document(bucket, 1)
        assert body["claim"] == 1
        assert body["host"] == {"hostname": "a", "instance_id": "i-a"}
        assert {"nonce", "claimed_at", "pid", "version"} <= body.keys()

    run_virtual(main())


def test_a_newcomer_on_another_host_waits_thirty_seconds_for_one_that_died() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await Daemon(bucket, "dead").acquire()
        newcomer = Daemon(bucket, "new")
        assert 30 <= await newcomer.acquire() <= 32.1
        assert (newcomer.phase, newcomer.claim.state.value.number) == (P.HELD, 2)

    run_virtual(main())


def test_while_it_waits_it_may_not_write_and_says_for_whom() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await Daemon(bucket, "dead").acquire()
        newcomer = Daemon(bucket, "new")
        task = asyncio.create_task(newcomer.acquire())
        await asyncio.sleep(10)
        state = newcomer.claim.state.value
        assert (state.phase, state.may_write, state.waiting_for) == (P.WAITING, False, "i-dead (dead) (claim 1) lets go")
        await task

    run_virtual(main())


@pytest.mark.parametrize("instance", [True, False])
def test_a_restart_on_the_same_host_waits_for_nothing(instance: bool) -> None:
    async def main() -> None:
        bucket = new_bucket()
        await Daemon(bucket, "a", instance=instance).acquire()
        assert await Daemon(bucket, "a", instance=instance).acquire() == 0

    run_virtual(main())


def test_a_released_claim_is_not_waited_for() -> None:
    async def main() -> None:
        bucket = new_bucket()
        first = Daemon(bucket, "a")
        await first.acquire()
        assert await first.claim.release()
        assert first.phase is P.RELEASED
        assert await Daemon(bucket, "b").acquire() == 0

    run_virtual(main())


def record(bucket: MemoryBucket, host: str, **fields: object) -> None:
    body = {"kind": "terminate", "drill": False, "verdict": "safe", **fields}
    key = KEYS.interruption(START + timedelta(seconds=1), host)
    bucket.write("create", key, json.dumps(body).encode(), None, only_new=True)


@pytest.mark.parametrize(
    ("host", "fields", "waits"),
    [
        ("i-old", {}, False),
        ("old", {"verdict": "unsafe"}, False),
        ("i-old", {"verdict": None}, True),
        ("i-old", {"drill": True}, True),
        ("x-old", {}, True),
    ],
)
def test_a_verdict_recorded_after_the_claim_is_not_waited_for(host: str, fields: dict[str, object], waits: bool) -> None:
    async def main() -> None:
        bucket = new_bucket()
        await Daemon(bucket, "old").acquire()
        await asyncio.sleep(100)
        record(bucket, host, **fields)
        assert (await Daemon(bucket, "new").acquire() > 0) is waits

    run_virtual(main())


def test_a_verdict_from_before_the_claim_does_not_count() -> None:
    async def main() -> None:
        bucket = new_bucket()
        record(bucket, "i-old")
        await asyncio.sleep(100)
        await Daemon(bucket, "old").acquire()
        assert await Daemon(bucket, "new").acquire() >= 30

    run_virtual(main())


def test_the_holder_sees_its_successor_within_fifteen_seconds_finishes_and_is_fenced() -> None:
    async def main() -> None:
        bucket = new_bucket()
        holder, newcomer = Daemon(bucket, "old"), Daemon(bucket, "new")
        await holder.acquire()
        watching = asyncio.create_task(holder.claim.watch())
        await asyncio.sleep(20)
        waiting = asyncio.create_task(newcomer.acquire())
        state = await watching
        assert holder.clock.monotonic() == 30
        assert (state.phase, state.successor, state.may_write) == (P.SUCCEEDED, 2, True)
        assert state.finish_by == pytest.approx(50)
        (problem,) = holder.problems.standing
        assert problem.code is ProblemCode.CLAIM_LOST
        assert "i-new" in problem.message
        await asyncio.sleep(3)
        assert newcomer.phase is P.WAITING
        assert await holder.claim.release()
        assert (holder.phase, holder.claim.state.value.may_write) == (P.FENCED, False)
        assert document(bucket, 1, "released")["held"] is True
        assert await waiting <= 15.1
        assert newcomer.phase is P.HELD
        assert await holder.claim.release(), "fenced is for ever, and releasing again does nothing"
        assert (await holder.claim.acquire()).phase is P.FENCED

    run_virtual(main())


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_a_drain_is_waited_for_to_its_deadline_and_fifteen_seconds_whatever_the_clocks_say(skew: float) -> None:
    async def main() -> None:
        bucket = new_bucket()
        holder, newcomer = Daemon(bucket, "old", skew=skew), Daemon(bucket, "new", skew=-skew / 2)
        await holder.acquire()
        watching = asyncio.create_task(holder.claim.watch())
        waiting = asyncio.create_task(newcomer.acquire())
        await watching
        assert await holder.claim.announce_drain(100.0)
        assert 113 <= await waiting <= 117.1  # notes have whole seconds
        assert newcomer.phase is P.HELD

    run_virtual(main())


def test_a_drain_that_ends_early_lets_the_newcomer_begin_early() -> None:
    async def main() -> None:
        bucket = new_bucket()
        holder, newcomer = Daemon(bucket, "old"), Daemon(bucket, "new")
        await holder.acquire()
        watching = asyncio.create_task(holder.claim.watch())
        waiting = asyncio.create_task(newcomer.acquire())
        await watching
        await holder.claim.announce_drain(115.0)
        await asyncio.sleep(40)
        assert newcomer.phase is P.WAITING
        await holder.claim.release()
        assert await waiting <= 57.1

    run_virtual(main())


def test_of_two_newcomers_the_higher_number_holds_and_still_waits_for_the_drain_below() -> None:
    async def main() -> None:
        bucket = new_bucket()
        holder, second, third = Daemon(bucket, "old"), Daemon(bucket, "second"), Daemon(bucket, "third")
        await holder.acquire()
        watching = asyncio.create_task(holder.claim.watch())
        tasks = [asyncio.create_task(second.acquire()), asyncio.create_task(third.acquire())]
        await watching
        await holder.claim.announce_drain(100.0)
        await asyncio.sleep(60)
        phases = {second.phase, third.phase}
        assert phases == {P.FENCED, P.WAITING}
        await asyncio.gather(*tasks)
        assert holder.clock.monotonic() >= 113
        by_number = sorted((second, third), key=lambda daemon: daemon.claim.state.value.number or 0)
        assert [daemon.phase for daemon in by_number] == [P.FENCED, P.HELD]
        loser = by_number[0]
        assert loser.problems.stands(ProblemCode.CLAIM_LOST)
        assert document(bucket, loser.claim.state.value.number or 0, "released")["held"] is False

    run_virtual(main())
