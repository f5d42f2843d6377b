"""A restore yields one checkpoint as it was written, an older one and why, or a reason why there is none."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import rmtree

import pytest

from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.checkpoint import Unit
from spotguard.core.comparison import Likeness, compare
from spotguard.core.layouts.identify import identify
from spotguard.core.manifest_format import encode
from spotguard.ports.bulk_fetch import Wanted
from spotguard.ports.object_store import StoreDenied
from spotguard.ports.part_transfer import Progress, Slice
from spotguard.ports.placement import PlacementRefused
from spotguard.services.restore.recovery_errors import NotCommitted, NothingToRestore, OnlyDamaged, TargetBusy
from tests.support.committed_run import LONG_AGO, content_of, hf_files
from tests.support.faulty_store import Faults, FaultyStore
from tests.support.memory_store import MemoryBulk, MemoryStore, MemoryTransfer
from tests.support.way_back import KEYS, NewMachine


@pytest.fixture
def machine(tmp_path: Path) -> NewMachine:
    return NewMachine(tmp_path / "out")


async def test_the_newest_comes_back_byte_for_byte_with_modes_and_times(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    files = {**hf_files(100, 12_345), "deep/er/empty.bin": b"", "nämé with space": b"x"}
    folders = {"deep": 0o750, "deep/er": 0o755, "void": 0o711}
    manifest = await run.commit("checkpoint-100", files, links={"latest": "deep/er"}, folders=folders)
    outcome = await machine.restore()
    folder = machine.root / "checkpoint-100"
    assert (outcome.name, outcome.step, outcome.source, outcome.saved_by) == ("checkpoint-100", 100, "remote", "i-0abc")
    assert content_of(folder) == files
    assert os.readlink(folder / "latest") == "deep/er"
    assert stat.S_IMODE((folder / "void").stat().st_mode) == 0o711
    for file in manifest.files:
        found = (folder / file.path).stat()
        assert (found.st_mtime_ns, stat.S_IMODE(found.st_mode)) == (file.mtime_ns, file.mode)
    assert [path.name for path in machine.root.iterdir()] == ["checkpoint-100"]


async def test_small_files_that_do_not_come_right_together_are_fetched_one_by_one(machine: NewMachine) -> None:
    files = {f"part-{number}": os.urandom(500) for number in range(100)} | hf_files(100)
    await machine.run().commit("checkpoint-100", files)
    spoilt = {KEYS.absolute(f"checkpoint-100/part-{number}") for number in range(0, 100, 7)}
    machine.bulk = bulk = MemoryBulk(machine.bucket, spoilt)
    assert (await machine.restore()).files_fetched == len(files)
    assert content_of(machine.root / "checkpoint-100") == files
    assert spoilt <= set(bulk.asked)


async def test_a_bulk_that_brings_nothing_costs_nothing_but_time(machine: NewMachine) -> None:
    class Nothing(MemoryBulk):
        async def fetch_all(self, wanted: Sequence[Wanted]) -> Sequence[int | None]:
            self.asked += [one.key for one in wanted]
            return [None] * len(wanted)

    await machine.run().commit("checkpoint-100", hf_files(100))
    machine.bulk = bulk = Nothing(machine.bucket)
    await machine.restore()
    assert content_of(machine.root / "checkpoint-100") == hf_files(100)
    assert bulk.asked


async def test_few_files_are_open_at_a_time_whatever_comes_of_their_batches(machine: NewMachine) -> None:
    most = 0

    class Nothing(MemoryBulk):
        async def fetch_all(self, wanted: Sequence[Wanted]) -> Sequence[int | None]:
            nonlocal most
            await asyncio.sleep(0)
            most = max(most, len(os.listdir("/proc/self/fd")))
            return [None] * len(wanted)

    class Slow(MemoryTransfer):
        async def fetch(self, key: str, into: Slice, *, etag: str | None = None, progress: Progress | None = None) -> int:
            await asyncio.sleep(0.01)
            return await super().fetch(key, into, etag=etag, progress=progress)

    files = {f"part-{number:04}": b"x" * 100 for number in range(400)}
    await machine.run().commit("checkpoint-100", files | hf_files(100))
    machine.bulk, machine.transfer = Nothing(machine.bucket), Slow(machine.bucket)
    open_before = len(os.listdir("/proc/self/fd"))
    await machine.restore()
    assert content_of(machine.root / "checkpoint-100") == files | hf_files(100)
    assert 96 <= most - open_before <= 2 * 96 + 10


async def test_a_single_small_file_comes_without_a_batch(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    machine.bulk = bulk = MemoryBulk(machine.bucket)
    monolith = {"a.bin": b"x" * 1000}
    await machine.run().commit("checkpoint-200", monolith)
    await machine.restore()
    assert content_of(machine.root / "checkpoint-200") == monolith
    assert len(bulk.asked) <= 2


async def test_what_was_restored_is_known_as_committed(machine: NewMachine) -> None:
    manifest = await machine.run().commit("sft/checkpoint-100", hf_files(100))
    await machine.restore()
    inventory = identify(await LocalVolume(str(machine.root)).scan())
    assert compare(inventory.checkpoints["sft/checkpoint-100"], manifest).likeness is Likeness.SAME


async def test_what_is_here_and_right_is_not_fetched_again(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    first = await machine.restore()
    inode = (machine.root / "checkpoint-100/model.safetensors").stat().st_ino
    again = await machine.restore()
    assert (first.files_fetched, again.files_fetched, again.files_reused, again.moved_aside) == (3, 0, 3, ())
    assert (machine.root / "checkpoint-100/model.safetensors").stat().st_ino == inode


async def test_content_decides_what_is_right_not_size_and_time(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    await machine.restore()
    machine.settle_seconds = 0
    model = machine.root / "checkpoint-100/model.safetensors"
    times, content = model.stat(), bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    os.utime(model, ns=(times.st_mtime_ns, times.st_mtime_ns))
    outcome = await machine.restore()
    assert (outcome.files_fetched, outcome.files_reused) == (1, 2)
    assert content_of(machine.root / "checkpoint-100") == hf_files(100)
    assert Path(outcome.moved_aside[0].to, "model.safetensors").read_bytes() == content


async def test_a_single_file_checkpoint_comes_back(machine: NewMachine) -> None:
    await machine.run().commit("ckpt_5.pkl", {"ckpt_5.pkl": b"five"}, unit=Unit.FILE, layout="generic-file")
    outcome = await machine.restore()
    assert (machine.root / "ckpt_5.pkl").read_bytes() == b"five"
    assert outcome.path == str(machine.root / "ckpt_5.pkl")
    assert (await machine.restore()).files_fetched == 0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda body: None, "is missing"),
        (lambda body: body[:-1], "bytes, not"),
        (lambda body: body[:-1] + bytes([body[-1] ^ 1]), "its checksum is"),
    ],
    ids=["missing", "truncated", "flipped"],
)
async def test_a_damaged_one_is_skipped_for_the_next_older(machine: NewMachine, damage, words: str) -> None:  # type: ignore[no-untyped-def]
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    await run.commit("checkpoint-100", hf_files(100))
    machine.damage("checkpoint-100/model.safetensors", damage(hf_files(100)["model.safetensors"]))
    outcome = await machine.restore()
    assert outcome.name == "checkpoint-50"
    assert [(s.name, words in s.reason) for s in outcome.skipped] == [("checkpoint-100", True)]
    assert [path.name for path in machine.root.iterdir()] == ["checkpoint-50"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"garbage", "is not JSON"),
        (b'{"format": 2}', "upgrade spotguard"),
        (b"", "is not JSON"),
    ],
)
async def test_a_manifest_that_can_not_be_read_is_skipped(machine: NewMachine, content: bytes, words: str) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    bad = await run.commit("checkpoint-100", hf_files(100))
    machine.damage(KEYS.relative(run.manifest_key(bad)), content)
    outcome = await machine.restore()
    assert outcome.name == "checkpoint-50"
    assert words in outcome.skipped[0].reason
    assert "manifests/checkpoint-100/" in outcome.skipped[0].reason


async def test_a_manifest_that_names_what_is_not_its_own_is_refused(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    bad = await run.commit("checkpoint-100", hf_files(100))
    key = run.manifest_key(bad)
    for old, new in ((b'"config.json"', b'"../../etc/passwd"'), (b'"name":"checkpoint-100"', b'"name":"checkpoint-999"')):
        body = machine.bucket.objects[key].body
        machine.damage(KEYS.relative(key), body.replace(old, new))
        outcome = await machine.restore()
        assert outcome.name == "checkpoint-50"
        assert "is refused" in outcome.skipped[0].reason
        machine.damage(KEYS.relative(key), body)


async def test_the_stage_of_the_newest_is_gone_through_before_the_others(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("rl/checkpoint-1", hf_files(1))
    await run.commit("sft/checkpoint-2", hf_files(2))
    await run.commit("rl/checkpoint-3", hf_files(3))
    machine.damage("rl/checkpoint-3/config.json", None)
    assert (await machine.restore()).name == "rl/checkpoint-1"
    machine.damage("rl/checkpoint-1/config.json", None)
    rmtree(machine.root)
    assert (await machine.restore()).name == "sft/checkpoint-2"
    with pytest.raises(OnlyDamaged):
        await machine.restore(stage="rl")
    assert not (machine.root / "rl").exists() or not any((machine.root / "rl").iterdir())


async def test_a_stage_limits_the_choice(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("sft/checkpoint-1", hf_files(1))
    await run.commit("rl/checkpoint-2", hf_files(2))
    assert (await machine.restore(stage="sft")).name == "sft/checkpoint-1"
    with pytest.raises(NothingToRestore, match="has no checkpoint of the stage 'x'; it has the stages 'rl', 'sft'"):
        await machine.restore(stage="x")


async def test_a_name_has_its_older_generations_and_no_other_checkpoint(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("last.pkl", {"last.pkl": b"old"}, unit=Unit.FILE, layout="generic-file")
    await run.commit("last.pkl", {"last.pkl": b"new"}, unit=Unit.FILE, layout="generic-file", generation=2)
    await run.commit("checkpoint-3", hf_files(3))
    machine.damage("last.pkl@2", b"bad")
    outcome = await machine.restore("last.pkl")
    assert ((machine.root / "last.pkl").read_bytes(), outcome.generation) == (b"old", 1)
    machine.damage("last.pkl", None)
    (machine.root / "last.pkl").unlink()
    with pytest.raises(OnlyDamaged, match=r"last\.pkl"):
        await machine.restore("last.pkl")
    with pytest.raises(NothingToRestore, match=r"has no checkpoint nope; it has last\.pkl, checkpoint-3"):
        await machine.restore("nope")


async def test_an_empty_run_is_nothing_and_a_denied_one_is_not(machine: NewMachine) -> None:
    with pytest.raises(NothingToRestore, match="nothing to restore: s3://b/run1 is empty"):
        await machine.restore()
    faults = Faults()
    faults.denied = True
    machine.store = FaultyStore(MemoryStore(machine.bucket), faults)
    with pytest.raises(StoreDenied):
        await machine.restore()


async def test_objects_of_another_tool_are_named_and_those_of_our_own_cut_off_upload_are_not(machine: NewMachine) -> None:
    store = MemoryStore(machine.bucket)
    for path, content in hf_files(7).items():
        await store.create(f"run1/checkpoint-7/{path}", content, metadata=KEYS.metadata("checkpoint-7"))
    with pytest.raises(NothingToRestore, match="empty but for 3 objects"):
        await machine.restore()
    for path, content in hf_files(8).items():
        await store.create(f"run1/checkpoint-8/{path}", content)
    with pytest.raises(NotCommitted, match="checkpoint-8 without a manifest") as caught:
        await machine.restore()
    assert "adopt" in caught.value.fix
    assert "--fresh" in caught.value.fix


async def test_a_newer_whole_one_on_this_disk_is_kept(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    machine.write(hf_files(150), below="checkpoint-150", age_seconds=60)
    outcome = await machine.restore()
    assert (outcome.name, outcome.source, outcome.generation) == ("checkpoint-150", "local", 0)
    assert [path.name for path in machine.root.iterdir()] == ["checkpoint-150"]


async def test_an_older_whole_one_on_this_disk_is_left_where_it_is(machine: NewMachine) -> None:
    run = machine.run()
    run.start += timedelta(days=36_500)
    await run.commit("checkpoint-100", hf_files(100))
    machine.write(hf_files(150), below="checkpoint-150", age_seconds=60)
    outcome = await machine.restore()
    assert (outcome.name, outcome.moved_aside) == ("checkpoint-100", ())
    assert content_of(machine.root / "checkpoint-150") == hf_files(150)
    assert any("checkpoint-150 has a higher step but is older" in warning for warning in outcome.warnings)


async def test_a_torn_one_is_moved_aside(machine: NewMachine) -> None:
    await machine.run().commit("sft/checkpoint-100", hf_files(100))
    torn = {"model.safetensors": hf_files(200)["model.safetensors"]}
    machine.write(torn, below="sft/checkpoint-200", age_seconds=60)
    outcome = await machine.restore()
    assert (outcome.name, [moved.name for moved in outcome.moved_aside]) == ("sft/checkpoint-100", ["sft/checkpoint-200"])
    quarantine = machine.root / ".spotguard-quarantine"
    assert Path(outcome.moved_aside[0].to).parent == quarantine / "sft"
    (warning,) = (await machine.restore()).warnings
    assert warning.startswith(f"{quarantine} holds ")
    assert content_of(Path(outcome.moved_aside[0].to)) == torn
    assert not (machine.root / "sft/checkpoint-200").exists()


async def test_a_torn_one_is_moved_aside_before_a_fresh_start_too(machine: NewMachine) -> None:
    machine.write({"rng_state.pth": b"x"}, below="checkpoint-200", age_seconds=60)
    with pytest.raises(NothingToRestore):
        await machine.restore()
    assert not (machine.root / "checkpoint-200").exists()


async def test_right_files_of_a_torn_one_are_used(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    files = hf_files(100)
    del files["trainer_state.json"]
    machine.write(files, below="checkpoint-100", age_seconds=60)
    outcome = await machine.restore()
    assert (outcome.files_fetched, outcome.files_reused) == (1, 2)
    assert content_of(machine.root / "checkpoint-100") == hf_files(100)


@pytest.mark.parametrize("why", ["changed a moment ago", "open"])
async def test_a_torn_one_in_use_is_not_touched(machine: NewMachine, why: str) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    folder = machine.write({"config.json": b"{}"}, below="checkpoint-200", age_seconds=60 if why == "open" else 1)
    if why == "open":
        machine.watch.users_of = {str(folder)}
    outcome = await machine.restore()
    assert outcome.moved_aside == ()
    assert [left.name for left in outcome.left_alone] == ["checkpoint-200"]
    assert content_of(folder) == {"config.json": b"{}"}


async def test_a_target_in_use_is_never_replaced(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    folder = machine.write({"config.json": b"[]"}, below="checkpoint-100", age_seconds=60)
    machine.watch.users_of = {str(folder)}
    with pytest.raises(TargetBusy, match="4711"):
        await machine.restore()
    assert content_of(folder) == {"config.json": b"[]"}
    assert [path.name for path in machine.root.iterdir()] == ["checkpoint-100"]


async def test_a_folder_of_the_user_that_merely_ends_in_digits_stays(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    machine.write({"part.json": b"{", "_SUCCESS": b""}, below="data-2024", age_seconds=60)
    assert (await machine.restore()).moved_aside == ()
    assert (machine.root / "data-2024/part.json").exists()


async def test_companions_and_loose_files_come_back_as_they_belong(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50), companions={"training_state.json": b'{"step": 50}'})
    await run.commit("checkpoint-100", hf_files(100), companions={"training_state.json": b'{"step": 100}'})
    await run.add_loose("training_state.json", b'{"step": 100}', mtime=LONG_AGO + timedelta(seconds=101))
    await run.add_loose("sub dir/notes.txt", b"notes")
    outcome = await machine.restore()
    assert (outcome.companions_written, outcome.loose_fetched) == (1, 1)
    assert (machine.root / "training_state.json").read_bytes() == b'{"step": 100}'
    assert (machine.root / "training_state.json").stat().st_mtime_ns == run.loose["training_state.json"].mtime_ns
    notes = (machine.root / "sub dir/notes.txt").stat()
    assert (notes.st_mtime_ns, stat.S_IMODE(notes.st_mode)) == (run.loose["sub dir/notes.txt"].mtime_ns, 0o640)
    machine.damage("checkpoint-100/config.json", None)
    older = await machine.restore("checkpoint-50")
    assert (machine.root / "training_state.json").read_bytes() == b'{"step": 50}'
    assert older.loose_fetched == 0


async def test_a_state_file_that_tells_of_a_newer_checkpoint_stays_in_the_bucket(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    await run.commit("checkpoint-100", hf_files(100))
    await run.add_loose("training_state.json", b'{"step": 100}', mtime=LONG_AGO + timedelta(seconds=150))
    outcome = await machine.restore("checkpoint-50")
    assert not (machine.root / "training_state.json").exists()
    assert "tells of a newer checkpoint" in outcome.warnings[0]


async def test_loose_files_that_are_newer_here_damaged_or_in_the_way_are_left_out(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-100", hf_files(100))
    for path in ("newer.txt", "damaged.txt", "folder", "older.txt"):
        await run.add_loose(path, b"from the bucket")
    machine.damage("damaged.txt", b"from another---")
    machine.write({"newer.txt": b"mine"}, below=".", age_seconds=10)
    machine.write({"older.txt": b"mine"}, below=".", age_seconds=10)
    os.utime(machine.root / "older.txt", (0, 0))
    (machine.root / "folder").mkdir()
    outcome = await machine.restore()
    assert (machine.root / "newer.txt").read_bytes() == b"mine"
    assert (machine.root / "older.txt").read_bytes() == b"from the bucket"
    assert not (machine.root / "damaged.txt").exists()
    quarantine = machine.root / ".spotguard-quarantine"
    assert sorted(warning.partition(" ")[0] for warning in outcome.warnings) == [str(quarantine), "damaged.txt", "folder", "newer.txt"]


async def test_folder_times_rise_with_the_order_of_saving(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    await run.commit("checkpoint-100", hf_files(100))
    await run.commit("checkpoint-150", hf_files(150))
    for name in ("checkpoint-100", "checkpoint-50", "checkpoint-150"):
        await machine.restore(name)
    for name in ("checkpoint-50", "checkpoint-100"):
        os.utime(machine.root / name)
    await machine.restore()
    times = [(machine.root / name).stat().st_mtime for name in ("checkpoint-50", "checkpoint-100", "checkpoint-150")]
    assert times[1] - times[0] > 1
    assert times[2] - times[1] > 1


async def test_nothing_is_written_through_a_link_that_leads_out(machine: NewMachine, tmp_path: Path) -> None:
    await machine.run().commit("sft/checkpoint-100", hf_files(100))
    outside = tmp_path / "outside"
    outside.mkdir()
    machine.root.mkdir()
    (machine.root / "sft").symlink_to(outside)
    with pytest.raises(PlacementRefused, match="leads out of"):
        await machine.restore()
    assert list(outside.iterdir()) == []


async def test_a_link_in_the_place_of_the_checkpoint_is_moved_not_followed(machine: NewMachine, tmp_path: Path) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    outside = tmp_path / "outside"
    outside.mkdir()
    machine.root.mkdir()
    (machine.root / "checkpoint-100").symlink_to(outside)
    await machine.restore()
    assert not (machine.root / "checkpoint-100").is_symlink()
    assert content_of(machine.root / "checkpoint-100") == hf_files(100)
    assert list(outside.iterdir()) == []


async def test_a_copy_here_that_is_right_is_used_when_the_bucket_lost_its_own(machine: NewMachine) -> None:
    run = machine.run()
    await run.commit("checkpoint-50", hf_files(50))
    await run.commit("checkpoint-100", hf_files(100))
    await machine.restore()
    machine.damage("checkpoint-100/model.safetensors", None)
    outcome = await machine.restore()
    assert (outcome.name, outcome.skipped, outcome.files_reused) == ("checkpoint-100", (), 3)


async def test_records_that_nobody_understands_are_not_nothing(machine: NewMachine) -> None:
    await MemoryStore(machine.bucket).create("run1/.spotguard/manifests/checkpoint-100/v9.cbor", b"?")
    with pytest.raises(OnlyDamaged, match="does not understand"):
        await machine.restore()


async def test_no_file_becomes_set_user_id_by_the_word_of_a_bucket(machine: NewMachine) -> None:
    run = machine.run()
    manifest = await run.commit("checkpoint-100", hf_files(100))
    key = run.manifest_key(manifest)
    body = machine.bucket.objects[key].body
    machine.damage(KEYS.relative(key), body.replace(b'"mode":384', b'"mode":2541'))
    await machine.restore()
    modes = {path.stat().st_mode & 0o7000 for path in (machine.root / "checkpoint-100").iterdir()}
    assert modes == {0}


async def test_a_companion_inside_its_checkpoint_does_not_get_in_its_way(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", {**hf_files(100), "latest": b"x"}, companions={"checkpoint-100/latest": b"x"})
    outcome = await machine.restore()
    assert (outcome.moved_aside, content_of(machine.root)["checkpoint-100/latest"]) == ((), b"x")


async def test_a_save_that_was_cut_off_before_its_layout_shows_is_not_taken_for_another_layout(machine: NewMachine) -> None:
    await machine.run().commit("checkpoint-100", hf_files(100))
    machine.write({"model.safetensors": hf_files(200)["model.safetensors"]}, below="checkpoint-200", age_seconds=600)
    assert (await machine.restore()).name == "checkpoint-100"


@pytest.mark.parametrize("lying", ["nothing", "a link to another", "a file", "the same link"])
async def test_a_link_that_leads_to_it_from_beside_is_restored_and_what_lay_there_is_kept(machine: NewMachine, lying: str) -> None:
    beside = {"sft/last.ckpt": "epoch=1-step=10.ckpt"}
    files = {"epoch=1-step=10.ckpt": b"content"}
    await machine.run().commit("sft/epoch=1-step=10.ckpt", files, unit=Unit.FILE, layout="lightning", links_beside=beside)
    link = machine.root / "sft/last.ckpt"
    link.parent.mkdir(parents=True)
    if lying == "a file":
        link.write_bytes(b"torn")
        os.utime(link, (1, 1))
    elif lying != "nothing":
        link.symlink_to("epoch=1-step=10.ckpt" if lying == "the same link" else "epoch=0-step=5.ckpt")
    outcome = await machine.restore()
    assert os.readlink(link) == "epoch=1-step=10.ckpt"
    assert link.read_bytes() == b"content"
    kept = [path.read_bytes() for path in (machine.root / ".spotguard-quarantine").rglob("*") if path.is_file() and not path.is_symlink()]
    assert kept == ([b"torn"] if lying == "a file" else [])
    assert any(moved.name == "sft/last.ckpt" for moved in outcome.moved_aside) == (lying in ("a file", "a link to another"))


async def test_how_many_ranks_wrote_it_comes_with_it(machine: NewMachine) -> None:
    manifest = await machine.run().commit("checkpoint-100", hf_files(100))
    assert (await machine.restore()).world_size is None
    many = replace(manifest, world_size=4, generation=2)
    await MemoryStore(machine.bucket).create(machine.run().manifest_key(many), encode(many), metadata={})
    assert (await machine.restore()).world_size == 4
