"""What goes and what stays, seen in the bucket."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Collection, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotguard.core.retention import RetentionRule
from spotguard.core.run_keys import LOOSE
from spotguard.core.timestamps import format_time
from spotguard.ports.object_store import ObjectStore, StoreUnavailable
from spotguard.ports.part_transfer import Upload
from spotguard.services.run.deletion import MayNotRun, NotUnderstood
from spotguard.services.run.janitor import Janitor
from tests.support.faulty_store import Fault, Faults, FaultyStore
from tests.support.memory_store import MemoryStore, MemoryTransfer
from tests.support.virtual_time import VirtualClock, run_virtual
from tests.unit.services.run_in_bucket import KEYS, Interrupted, RunInBucket, StoreThatEnds

DAY = 24 * 3600.0


def a_janitor(
    run: RunInBucket,
    rule: RetentionRule | None = None,
    *,
    in_use: Collection[str] = (),
    may_run: bool = True,
    store: ObjectStore | None = None,
    clock: VirtualClock | None = None,
) -> Janitor:
    local = clock or run.clock
    return Janitor(
        store or MemoryStore(run.bucket, local),
        MemoryTransfer(run.bucket),
        KEYS,
        local,
        rule or RetentionRule(),
        may_run=lambda: may_run,
        in_use=lambda: in_use,
    )


def virtually(story: Coroutine[Any, Any, None]) -> None:
    run_virtual(story)


class TestSweep:
    def test_only_old_unnamed_objects_of_ours_go(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("sft/checkpoint-1")
            run.put("sft/checkpoint-2/model.bin", KEYS.metadata("sft/checkpoint-2"))
            run.put("sft/checkpoint-1/f0@5", KEYS.metadata("sft/checkpoint-1"))
            foreign = {
                "sft/checkpoint-2/theirs.bin": None,
                "sft/checkpoint-2/other-run": {"spotguard-run": "s3://b/runs/2", "spotguard-checkpoint": "sft/checkpoint-2"},
                "state.json": KEYS.metadata(LOOSE),
                "state.json@2": KEYS.metadata(LOOSE),
                "last_sync.json": KEYS.metadata("last_sync.json"),
                ".spotguard/loose.json": KEYS.metadata(LOOSE),
                ".spotguard/claims/00000001.json": KEYS.metadata("x"),
            }
            for key, metadata in foreign.items():
                run.put(key, metadata)
            await asyncio.sleep(7 * DAY + 60)
            run.put("sft/checkpoint-3/model.bin", KEYS.metadata("sft/checkpoint-3"))
            before = run.present
            swept = await a_janitor(run).sweep()
            assert before - run.present == {"sft/checkpoint-2/model.bin", "sft/checkpoint-1/f0@5"}
            assert (swept.deleted.objects, swept.deleted.bytes) == (2, 2)
            assert not run.broken()

        virtually(story())

    def test_the_age_is_by_the_clock_of_the_store(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.put("checkpoint-2/model.bin", KEYS.metadata("checkpoint-2"))
            await asyncio.sleep(DAY)
            await a_janitor(run, clock=VirtualClock(skew_seconds=30 * DAY)).sweep()
            assert run.present == {"checkpoint-2/model.bin"}
            await asyncio.sleep(6 * DAY + 60)
            await a_janitor(run, clock=VirtualClock(skew_seconds=-30 * DAY)).sweep()
            assert run.present == set()

        virtually(story())

    @pytest.mark.parametrize("entry", ["checkpoint-2", "checkpoint-2/model.bin", "runs/1/checkpoint-2/model.bin"])
    def test_what_a_local_checkpoint_uses_stays(self, entry: str) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.put("checkpoint-2/model.bin", KEYS.metadata("checkpoint-2"))
            await asyncio.sleep(8 * DAY)
            await a_janitor(run, in_use=[entry]).sweep()
            assert run.present == {"checkpoint-2/model.bin"}

        virtually(story())

    def test_a_damaged_manifest_protects_its_name_and_what_it_mentions(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            for name in ("checkpoint-1", "checkpoint-2", "checkpoint-3"):
                run.put(f"{name}/model.bin", KEYS.metadata(name))
            mention = json.dumps({"format": 1, "files": [{"key": "checkpoint-2/model.bin"}]}).encode()
            run.put(".spotguard/manifests/checkpoint-1/00000001-20261123T195958Z.json", body=mention)
            await asyncio.sleep(8 * DAY)
            await a_janitor(run).sweep()
            assert {key for key in run.present if key.startswith("checkpoint")} == {"checkpoint-1/model.bin", "checkpoint-2/model.bin"}

        virtually(story())

    @pytest.mark.parametrize(
        ("key", "body"),
        [
            ("checkpoint-9/00000001-20261123T195958Z.json", b'{"format": 2}'),
            ("checkpoint-9/00000001-20261123T195958Z.v2.json", b"?"),
        ],
    )
    def test_beside_a_manifest_of_another_version_nothing_goes(self, key: str, body: bytes) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            run.commit("checkpoint-2")
            run.put("checkpoint-3/model.bin", KEYS.metadata("checkpoint-3"))
            run.put(f".spotguard/manifests/{key}", body=body)
            await asyncio.sleep(8 * DAY)
            before = run.present
            janitor = a_janitor(run, RetentionRule(keep_last=1))
            for act in (janitor.sweep, janitor.retain):
                with pytest.raises(NotUnderstood):
                    await act()
            assert run.present == before

        virtually(story())

    def test_what_is_committed_between_the_two_listings_stays(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            key = run.put("checkpoint-1/model.bin", KEYS.metadata("checkpoint-1"))
            await asyncio.sleep(8 * DAY)

            class CommitsMeanwhile(MemoryStore):
                async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Any:
                    listed = await super().list(prefix, start_after=start_after, limit=limit)
                    if prefix == KEYS.root:
                        run.put_manifest(run.manifest("checkpoint-1", 1, [key]))
                    return listed

            await a_janitor(run, store=CommitsMeanwhile(run.bucket)).sweep()
            assert not run.broken()
            assert key in run.bucket.objects

        virtually(story())

    def test_only_uploads_under_the_run_that_nobody_added_to_for_a_day_are_aborted(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            transfer = MemoryTransfer(run.bucket)
            dead = await transfer.begin("runs/1/checkpoint-1/a", metadata={})
            used = await transfer.begin("runs/1/checkpoint-2/a", metadata={})
            alive = await transfer.begin("runs/1/checkpoint-4/a", metadata={})
            await transfer.begin("runs/10/checkpoint-1/a", metadata={})
            await asyncio.sleep(1.5 * DAY)
            young = await transfer.begin("runs/1/checkpoint-3/a", metadata={})
            run.bucket.add_part(dead, 1, b"old")
            run.bucket.uploads[dead.upload_id].modified[1] -= 1.4 * DAY
            run.bucket.add_part(alive, 1, b"new")
            swept = await a_janitor(run, in_use=["checkpoint-2"]).sweep()
            left = {upload.upload_id for upload in await transfer.unfinished("runs/")}
            assert swept.aborted_uploads == 1
            assert dead.upload_id not in left
            assert {used.upload_id, young.upload_id, alive.upload_id} <= left
            assert len(left) == 4

        virtually(story())

    def test_an_upload_of_unknown_age_stays(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            await asyncio.sleep(8 * DAY)
            aborted = []

            class TellsNoAge(MemoryTransfer):
                async def unfinished(self, prefix: str) -> list[Upload]:
                    return [Upload("runs/1/checkpoint-1/a", "u")]

                async def abort(self, upload: Upload) -> None:
                    aborted.append(upload)

            janitor = Janitor(
                MemoryStore(run.bucket), TellsNoAge(run.bucket), KEYS, run.clock, RetentionRule(), may_run=lambda: True, in_use=tuple
            )
            await janitor.sweep()
            assert aborted == []

        virtually(story())


class TestRetention:
    def test_manifests_go_first_then_what_no_other_manifest_names(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("sft/checkpoint-1")
            await asyncio.sleep(60)
            run.commit("sft/checkpoint-2", reused=["runs/1/sft/checkpoint-1/f0"])
            run.bucket.log.clear()
            gone = await a_janitor(run, RetentionRule(keep_last=1)).retain()
            assert [verb for verb, _ in run.bucket.log] == ["delete", "delete"]
            assert run.bucket.log[0][1] == gone[0]
            assert run.bucket.log[1][1] == "runs/1/sft/checkpoint-1/f1"
            assert not run.broken()

        virtually(story())

    def test_what_was_adopted_loses_its_manifest_but_no_byte(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            theirs = run.put("checkpoint-1/model.bin")
            run.put_manifest(run.manifest("checkpoint-1", 1, [theirs]))
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            await a_janitor(run, RetentionRule(keep_last=1)).retain()
            assert {m.name for m in run.manifests().values()} == {"checkpoint-2"}
            assert theirs in run.bucket.objects

        virtually(story())

    def test_old_generations_of_one_name_go_with_their_objects(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            for generation in range(1, 6):
                run.commit("last.ckpt", generation, files=1)
                await asyncio.sleep(60)
            await a_janitor(run, RetentionRule(keep_last=1)).retain()
            assert sorted(m.generation for m in run.manifests().values()) == [4, 5]
            assert {KEYS.relative(key) for key in run.data()} == {"last.ckpt/f0@4", "last.ckpt/f0@5"}

        virtually(story())

    def test_an_object_whose_deletion_failed_is_tried_again(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            faults = Faults()
            janitor = a_janitor(run, RetentionRule(keep_last=1), store=FaultyStore(MemoryStore(run.bucket), faults))
            faults.plan("delete", Fault.NONE, Fault.UNAVAILABLE)
            with pytest.raises(StoreUnavailable):
                await janitor.retain()
            assert faults.fired[Fault.UNAVAILABLE] == 1
            assert janitor.is_condemned("runs/1/checkpoint-1/f0")
            await janitor.retain()
            assert not any(key.startswith("checkpoint-1/") for key in run.present)
            assert not janitor.is_condemned("runs/1/checkpoint-1/f0")

        virtually(story())

    def test_without_the_claim_nothing_goes(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            before = run.present
            janitor = a_janitor(run, RetentionRule(keep_last=1), may_run=False)
            for act in (janitor.retain, janitor.sweep):
                with pytest.raises(MayNotRun):
                    await act()
            assert run.present == before

        virtually(story())

    def test_nothing_of_a_name_with_an_uncommitted_local_checkpoint_goes(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            before = run.present
            assert await a_janitor(run, RetentionRule(keep_last=1), in_use=["checkpoint-1"]).retain() == ()
            assert run.present == before

        virtually(story())

    @pytest.mark.parametrize("after", range(5))
    def test_what_a_commit_begins_to_use_meanwhile_is_not_deleted_under_it(self, after: int) -> None:
        """The name of a group is not seen in its keys, only in their metadata."""

        async def story() -> None:
            run = RunInBucket()
            rank = run.put("run/rank0.pt", KEYS.metadata("run/step-1"))
            run.put_manifest(run.manifest("run/step-1", 1, [rank]))
            await asyncio.sleep(60)
            run.commit("run/step-2")
            asked = 0

            def in_use() -> list[str]:
                nonlocal asked
                asked += 1
                return ["run/step-1"] if asked > after else []

            janitor = Janitor(
                MemoryStore(run.bucket),
                MemoryTransfer(run.bucket),
                KEYS,
                run.clock,
                RetentionRule(keep_last=1),
                may_run=lambda: True,
                in_use=in_use,
            )
            await janitor.retain()
            assert (rank in run.bucket.objects) is (asked > after)

        virtually(story())

    def test_what_is_in_use_is_not_condemned(self) -> None:
        """Or its own upload would have to avoid the key it has chosen already."""

        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            used: list[str] = []
            seen: list[tuple[bool, bool]] = []

            class Looks(MemoryStore):
                async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> Any:
                    seen.append(tuple(janitor.is_condemned(f"runs/1/checkpoint-1/f{n}") for n in (0, 1)))  # type: ignore[arg-type]
                    used[:] = ["checkpoint-1/f0"]
                    return await super().list(prefix, start_after=start_after, limit=limit)

            janitor = a_janitor(run, RetentionRule(keep_last=1), in_use=used, store=Looks(run.bucket))
            await janitor.retain()
            assert seen == [(False, False), (False, True)]
            assert "checkpoint-1/f0" in run.present
            assert "checkpoint-1/f1" not in run.present
            assert not janitor.is_condemned("runs/1/checkpoint-1/f1")

        virtually(story())

    def test_losing_the_claim_in_the_middle_stops_it(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            answers = iter([True, True])
            janitor = Janitor(
                MemoryStore(run.bucket),
                MemoryTransfer(run.bucket),
                KEYS,
                run.clock,
                RetentionRule(keep_last=1),
                may_run=lambda: next(answers, False),
                in_use=tuple,
            )
            with pytest.raises(MayNotRun):
                await janitor.retain()
            assert "checkpoint-1/f0" in run.present
            assert not run.broken()

        virtually(story())


class TestRun:
    def test_it_retains_soon_after_a_commit_and_sweeps_at_most_daily(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.put("checkpoint-0/orphan", KEYS.metadata("checkpoint-0"))
            run.commit("checkpoint-1")
            janitor = a_janitor(run, RetentionRule(keep_last=1))
            task = asyncio.create_task(janitor.run())
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            janitor.note_commit()
            await asyncio.sleep(1)
            assert {m.name for m in run.manifests().values()} == {"checkpoint-2"}
            await asyncio.sleep(30 * DAY)
            task.cancel()
            sweeps = [key for verb, key in run.bucket.log if key == KEYS.janitor]
            assert 29 <= len(sweeps) <= 31
            assert "checkpoint-0/orphan" not in run.present

        virtually(story())

    def test_a_sweep_that_another_process_did_today_is_not_repeated(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.put("checkpoint-0/orphan", KEYS.metadata("checkpoint-0"))
            await asyncio.sleep(8 * DAY)
            run.put(".spotguard/janitor.json", body=json.dumps({"swept_at": format_time(run.clock.wall())}).encode())
            task = asyncio.create_task(a_janitor(run).run())
            await asyncio.sleep(0.9 * DAY)
            assert "checkpoint-0/orphan" in run.present
            await asyncio.sleep(0.2 * DAY)
            assert "checkpoint-0/orphan" not in run.present
            task.cancel()

        virtually(story())

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"swept_at": 3}', b"[]"])
    def test_a_note_that_can_not_be_read_costs_one_sweep(self, body: bytes) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.put("checkpoint-0/orphan", KEYS.metadata("checkpoint-0"))
            run.put(".spotguard/janitor.json", body=body)
            await asyncio.sleep(8 * DAY)
            task = asyncio.create_task(a_janitor(run).run())
            await asyncio.sleep(3600)
            task.cancel()
            assert "checkpoint-0/orphan" not in run.present

        virtually(story())

    def test_it_waits_while_it_may_not_run_and_forgets_nothing(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            allowed = False
            janitor = Janitor(
                MemoryStore(run.bucket),
                MemoryTransfer(run.bucket),
                KEYS,
                run.clock,
                RetentionRule(keep_last=1),
                may_run=lambda: allowed,
                in_use=tuple,
            )
            task = asyncio.create_task(janitor.run())
            await asyncio.sleep(3600)
            assert len(run.manifests()) == 2
            allowed = True
            await asyncio.sleep(60)
            assert len(run.manifests()) == 1
            task.cancel()

        virtually(story())

    def test_a_store_that_fails_for_hours_is_survived(self) -> None:
        async def story() -> None:
            run = RunInBucket()
            run.commit("checkpoint-1")
            await asyncio.sleep(60)
            run.commit("checkpoint-2")
            faults = Faults()
            faults.down = True
            task = asyncio.create_task(a_janitor(run, RetentionRule(keep_last=1), store=FaultyStore(MemoryStore(run.bucket), faults)).run())
            await asyncio.sleep(6 * 3600)
            assert faults.calls.total() < 60
            faults.down = False
            await asyncio.sleep(3600)
            assert {m.name for m in run.manifests().values()} == {"checkpoint-2"}
            task.cancel()

        virtually(story())


names = st.sampled_from(["a/1", "a/2", "a/3", "b/1", "last"])
worlds = st.lists(st.tuples(names, st.booleans(), st.sampled_from([0.0, 60.0, 3 * DAY, 8 * DAY])), min_size=1, max_size=8)
some_rules = st.sampled_from([RetentionRule(), RetentionRule(keep_last=1), RetentionRule(keep_every=2), RetentionRule(keep_days=4)])


async def build(world: list[tuple[str, bool, float]]) -> tuple[RunInBucket, set[str]]:
    """Commits, half of which reuse the object before, leftovers, and things that are not ours."""
    run = RunInBucket()
    generations: dict[str, int] = {}
    before: list[str] = []
    foreign = {run.put("a/1/theirs"), run.put("notes.txt"), run.put("state.json", KEYS.metadata(LOOSE))}
    for name, reuses, pause in world:
        generations[name] = generations.get(name, 0) + 1
        run.commit(name, generations[name], reused=before if reuses else ())
        before = [f"runs/1/{name}/f0" + (f"@{generations[name]}" if generations[name] > 1 else "")]
        run.put(f"{name}/left-{len(run.bucket.objects)}", KEYS.metadata(name))
        await asyncio.sleep(pause)
    return run, foreign


def newest_of_stages(run: RunInBucket) -> set[str]:
    newest: dict[str, tuple[Any, str]] = {}
    for key, manifest in run.manifests().items():
        newest[manifest.stage] = max(newest.get(manifest.stage, ((-1,), "")), (tuple(manifest.order), key))
    return {key for _, key in newest.values()}


@settings(deadline=None, max_examples=60)
@given(worlds, some_rules, st.integers(0, 25), st.booleans())
def test_wherever_it_ends_what_can_be_read_is_whole(
    world: list[tuple[str, bool, float]], rule: RetentionRule, requests: int, does_the_last: bool
) -> None:
    async def story() -> None:
        run, foreign = await build(world)
        newest = newest_of_stages(run)
        store = StoreThatEnds(MemoryStore(run.bucket), requests, does_the_last=does_the_last)
        janitor = a_janitor(run, rule, store=store)  # type: ignore[arg-type]
        try:
            await janitor.retain()
            await janitor.sweep()
        except Interrupted:
            assert store.ended
        for again in range(2):
            assert not run.broken()
            assert newest <= set(run.manifests())
            assert foreign <= set(run.bucket.objects)
            if not again:  # the next process takes over where this one ended
                successor = a_janitor(run, rule)
                await successor.retain()
                await successor.sweep()

    run_virtual(story())


async def commit_repeatedly(run: RunInBucket, janitor: Janitor, used: set[str], rng: random.Random) -> None:
    """A trainer that writes `last` again and again, each time one of three contents; a content that is there is reused."""
    for generation in range(1, 12):
        content = rng.choice([b"a", b"bb", b"ccc"])
        used.add("last")
        await asyncio.sleep(rng.choice([0, 0, 0, 1]))
        store = MemoryStore(run.bucket)
        while True:
            stored = [key for key in sorted(run.data()) if run.data()[key].body == content and not janitor.is_condemned(key)]
            key = stored[0] if stored else run.put(f"last/f0@{generation}", KEYS.metadata("last"), content)
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            if any(found.key == key for found in await store.list(KEYS.root)):
                break
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
        run.put_manifest(run.manifest("last", generation, [key]) if key in run.bucket.objects else _lost(key))
        used.discard("last")
        janitor.note_commit()
        await asyncio.sleep(rng.choice([0, 0, 1, 5]))


def _lost(key: str) -> Any:
    raise AssertionError(f"{key} was deleted under a commit that had seen it")


@pytest.mark.parametrize("seed", range(60))
def test_a_commit_never_loses_what_it_reuses_to_retention(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        run = RunInBucket()
        used: set[str] = set()
        janitor = a_janitor(run, RetentionRule(keep_last=1), in_use=used)
        stop = asyncio.Event()

        async def retain() -> None:
            while not stop.is_set():
                await janitor.retain()
                assert not run.broken()
                await asyncio.sleep(rng.choice([0, 0, 1]))

        async with asyncio.TaskGroup() as group:
            group.create_task(retain())
            await commit_repeatedly(run, janitor, used, rng)
            stop.set()
        assert not run.broken()
        await janitor.retain()
        assert sorted(m.generation for m in run.manifests().values()) == [10, 11]

    run_virtual(story())
