from __future__ import annotations

import io
import json
import os
import pickle
import time
import zipfile
from pathlib import Path

import pytest

from spotguard.training import get_latest_checkpoint, latest


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    for folder, _, names in os.walk(path):
        for name in names:
            os.utime(os.path.join(folder, name), (moment, moment))
    os.utime(path, (moment, moment))


def generic(root: Path, step: int, *, seconds_old: float, torn: bool = False) -> Path:
    folder = root / f"step-{step}"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "model.pt", "w") as file:
        file.writestr("data.pkl", b"x" * 1000)
    if torn:
        os.truncate(folder / "model.pt", 500)
    (folder / "config.json").write_text("{}")
    age(folder, seconds_old)
    return folder


def hugging_face(root: Path, step: int, *, seconds_old: float = 0.0, marked: bool = True) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(folder / name, "w") as file:
            file.writestr("data.pkl", b"x")
    if marked:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    age(folder, seconds_old)
    return folder


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest.time, "sleep", lambda seconds: pytest.fail(f"waited for {seconds} s"))


@pytest.mark.usefixtures("no_waiting")
def test_there_is_none_where_nothing_is(tmp_path: Path) -> None:
    assert get_latest_checkpoint(tmp_path) is None
    assert get_latest_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "notes.txt").write_text("x")
    assert get_latest_checkpoint(str(tmp_path)) is None


@pytest.mark.usefixtures("no_waiting")
def test_the_newest_is_taken_by_time_then_by_step(tmp_path: Path) -> None:
    generic(tmp_path, 30, seconds_old=300)
    newest = generic(tmp_path, 20, seconds_old=100)
    assert get_latest_checkpoint(tmp_path) == str(newest)
    age(tmp_path / "step-30", 100)
    os.utime(newest / "model.pt", ns=((when := os.stat(tmp_path / "step-30" / "model.pt").st_mtime_ns), when))
    os.utime(newest / "config.json", ns=(when, when))
    for name in ("model.pt", "config.json"):
        os.utime(tmp_path / "step-30" / name, ns=(when, when))
    assert get_latest_checkpoint(tmp_path) == str(tmp_path / "step-30")


@pytest.mark.usefixtures("no_waiting")
def test_a_torn_newest_one_is_passed_over(tmp_path: Path) -> None:
    whole = generic(tmp_path, 10, seconds_old=300)
    generic(tmp_path, 20, seconds_old=200, torn=True)
    lacking = generic(tmp_path, 30, seconds_old=100)
    (lacking / "model.pt").unlink()
    age(lacking, 100)
    assert get_latest_checkpoint(tmp_path) == str(whole)


@pytest.mark.usefixtures("no_waiting")
def test_one_with_a_marker_needs_no_quiet_and_one_without_its_marker_is_none(tmp_path: Path) -> None:
    whole = hugging_face(tmp_path / "sft", 50)
    hugging_face(tmp_path / "sft", 60, marked=False)
    assert get_latest_checkpoint(tmp_path) == str(whole)
    assert get_latest_checkpoint(tmp_path / "sft") == str(whole)


@pytest.mark.usefixtures("no_waiting")
def test_what_a_restore_moved_aside_or_has_not_finished_is_no_checkpoint(tmp_path: Path) -> None:
    for hidden in (".spotguard-quarantine", ".spotguard-tmp"):
        hugging_face(tmp_path / hidden, 70)
        hugging_face(tmp_path / "sft" / hidden, 70)
    assert get_latest_checkpoint(tmp_path) is None


def test_a_fresh_one_without_a_marker_is_waited_for_until_it_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "SETTLE_SECONDS", 0.4)
    generic(tmp_path, 10, seconds_old=300)
    fresh = generic(tmp_path, 20, seconds_old=0)
    began = time.monotonic()
    assert get_latest_checkpoint(tmp_path) == str(fresh)
    assert time.monotonic() - began > 0.2


def test_times_in_the_future_do_not_hide_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "SETTLE_SECONDS", 0.2)
    ahead = generic(tmp_path, 20, seconds_old=-3600)
    assert get_latest_checkpoint(tmp_path) == str(ahead)


@pytest.mark.usefixtures("no_waiting")
def test_a_single_file_is_a_checkpoint_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ckpt-5.pt", "w") as file:
        file.writestr("data.pkl", b"x")
    age(tmp_path, 60)
    assert get_latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-5.pt")


def metadata_of(*shards: str) -> bytes:
    """A pickle that names these shards, as `.metadata` does."""
    return pickle.dumps({"storage_data": [f"{shard}" for shard in shards]})


def test_a_torn_sharded_checkpoint_is_passed_over_by_what_its_metadata_names(tmp_path: Path) -> None:
    for step, shards in ((100, 2), (200, 1)):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        for rank in range(shards):
            put(folder / f"__{rank}_0.distcp", b"shard", step)
        put(folder / ".metadata", metadata_of("__0_0.distcp", "__1_0.distcp"), step)
    assert get_latest_checkpoint(tmp_path) == str(tmp_path / "step-100")


def test_a_sharded_checkpoint_whose_metadata_has_not_its_name_yet_is_passed_over(tmp_path: Path) -> None:
    for step in (100, 200):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        put(folder / "__0_0.distcp", b"shard", step)
        put(folder / ".metadata", metadata_of("__0_0.distcp"), step)
    put(tmp_path / "step-200/.metadata.tmp", b"half", 200)
    assert get_latest_checkpoint(tmp_path) == str(tmp_path / "step-100")


def test_deepspeed_is_taken_where_latest_names_it(tmp_path: Path) -> None:
    for step in (100, 200):
        folder = tmp_path / f"global_step{step}"
        folder.mkdir()
        for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"):
            put(folder / name, torch_zip(), step)
    put(tmp_path / "latest", b"global_step200", 300)
    assert get_latest_checkpoint(tmp_path) == str(tmp_path / "global_step200")
    (tmp_path / "global_step200/mp_rank_00_model_states.pt").unlink()
    put(tmp_path / "latest", b"global_step100", 300)
    assert get_latest_checkpoint(tmp_path) == str(tmp_path / "global_step100")


def put(path: Path, content: bytes, at: float) -> None:
    """A file of long ago."""
    path.write_bytes(content)
    os.utime(path, (1_700_000_000 + at, 1_700_000_000 + at))


def torch_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return out.getvalue()
