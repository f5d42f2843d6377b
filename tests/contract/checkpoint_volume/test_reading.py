"""Opening, checking and remembering on a real disk."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.adapters.disk import holding
from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.checkpoint import CompleteBy, Unfinished, Whole
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.identify import identify
from tests.contract.checkpoint_volume.formats import hf_checkpoint, safetensors, torch_zip

NAME = "checkpoint-100"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LocalVolume]:
    made = LocalVolume(tmp_path)
    yield made
    made.close()


def save(root: Path, files: dict[str, bytes]) -> None:
    (root / NAME).mkdir()
    for at, (name, content) in enumerate(files.items()):
        (root / NAME / name).write_bytes(content)
        os.utime(root / NAME / name, (1_700_000_000 + at, 1_700_000_000 + at))


async def judged(disk: LocalVolume, *, predecessor: tuple[str, ...] | None = None, quiet: float = 1e9) -> object:
    checkpoint = identify(await disk.scan()).checkpoints.get(NAME)
    if checkpoint is None:
        return None
    circumstances = Circumstances(quiet_seconds=quiet, settle_seconds=10, predecessor=predecessor)
    return assess(checkpoint, await disk.probe(probes_for(checkpoint)), circumstances)


async def test_a_real_save_is_whole_at_once(disk: LocalVolume, tmp_path: Path) -> None:
    save(tmp_path, hf_checkpoint(100))
    assert await judged(disk, quiet=0) == Whole(CompleteBy.MARKER)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
@pytest.mark.parametrize("name", list(hf_checkpoint(100)))
async def test_a_file_that_is_cut_off_makes_it_torn(disk: LocalVolume, tmp_path: Path, name: str, share: float) -> None:
    files = hf_checkpoint(100)
    files[name] = files[name][: int(len(files[name]) * share)]
    save(tmp_path, files)
    assert isinstance(await judged(disk), Unfinished)
    assert isinstance(await judged(disk, predecessor=tuple(files)), Unfinished)


@pytest.mark.parametrize("length", range(len(hf_checkpoint(100))))
async def test_at_no_moment_of_the_save_before_its_end_it_is_whole(disk: LocalVolume, tmp_path: Path, length: int) -> None:
    files = hf_checkpoint(100)
    save(tmp_path, dict(list(files.items())[:length]))
    assert not isinstance(await judged(disk, predecessor=tuple(files), quiet=30), Whole)
    assert not isinstance(await judged(disk, quiet=30), Whole)


async def test_answers_are_remembered_until_the_file_changes(disk: LocalVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, hf_checkpoint(100))
    await judged(disk)
    opened: list[str] = []
    real_open = holding._open

    def noted_open(path: str) -> int:
        opened.append(path)
        return real_open(path)

    monkeypatch.setattr(holding, "_open", noted_open)
    assert await judged(disk) == Whole(CompleteBy.MARKER)
    assert opened == []
    (tmp_path / NAME / "optimizer.pt").write_bytes(torch_zip()[:-5])
    assert isinstance(await judged(disk), Unfinished)
    assert opened == [str(tmp_path / NAME / "optimizer.pt")]


async def test_a_file_that_changed_since_its_scan_is_not_judged(disk: LocalVolume, tmp_path: Path) -> None:
    save(tmp_path, hf_checkpoint(100))
    checkpoint = identify(await disk.scan()).checkpoints[NAME]
    (tmp_path / NAME / "model.safetensors").write_bytes(safetensors(5000))
    findings = await disk.probe(probes_for(checkpoint))
    assert [probe.source for probe, finding in findings.items() if not finding.sound] == [f"{NAME}/model.safetensors"]


async def test_a_large_document_is_remembered_by_what_matters(disk: LocalVolume, tmp_path: Path) -> None:
    files = hf_checkpoint(100)
    files["trainer_state.json"] = json.dumps(
        {"global_step": 100, "log_history": [{"loss": 0.5, "step": n} for n in range(50_000)]}
    ).encode()
    save(tmp_path, files)
    checkpoint = identify(await disk.scan()).checkpoints[NAME]
    findings = await disk.probe(probes_for(checkpoint))
    document = next(finding.document for probe, finding in findings.items() if probe.source.endswith("trainer_state.json"))
    assert document == {"global_step": 100}


async def test_a_hold_whose_caller_is_cancelled_leaves_nothing_open(
    disk: LocalVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").write_bytes(b"x")
    entered, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    real_open = holding._open

    def slow_open(path: str) -> int:
        entered.set()
        go_on.wait(10)
        return real_open(path)

    class Watched(holding.HeldFile):
        def close(self) -> None:
            super().close()
            closed.set()

    monkeypatch.setattr(holding, "_open", slow_open)
    monkeypatch.setattr(holding, "HeldFile", Watched)
    task = asyncio.create_task(disk.hold("w"))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_a_checksum_outlives_the_hold_it_was_asked_for(disk: LocalVolume, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"x" * 1000)
    held = await disk.hold("w")
    task = asyncio.create_task(disk.checksum(held))
    await asyncio.sleep(0)
    held.close()
    assert await task
    with pytest.raises(ValueError, match="let go"):
        _ = held.fd
