"""What the frameworks really wrote, torn: a file missing, cut at 50 % or 99 %, empty. Never called whole, however long it is quiet."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.checkpoint import LocalCheckpoint, Unit
from spotguard.services.restore.local_findings import Look
from spotguard.services.restore.local_look import LocalLook
from tests.e2e.frameworks.frameworks import Framework
from tests.e2e.frameworks.story import Story

CUTS = {"missing": None, "empty": 0.0, "cut at 50 %": 0.5, "cut at 99 %": 0.99}


class Tomorrow:
    """Everything has been quiet for a day."""

    def wall(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=1)

    def monotonic(self) -> float:
        return 86_400.0

    def cpu(self) -> float:
        return 0.0


class Torn(NamedTuple):
    path: str
    how: str
    root: Path


async def look_at(root: Path) -> Look:
    volume = LocalVolume(root)
    try:
        looks = LocalLook(volume, Tomorrow(), layout="auto", settle_seconds=10.0)
        return await looks.look({}, generations={}, offset_seconds=0.0)
    finally:
        volume.close()


async def test_a_torn_checkpoint_is_never_called_whole(
    framework: Framework, story_of: Callable[[Framework], Story], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    story = story_of(framework)
    untouched = await look_at(story.output)
    last = untouched.inventory.checkpoints[story.saves[-1].name]
    assert last.name in {candidate.name for candidate in untouched.whole}, "the untouched one must be whole, or this proves nothing"
    assert last.layout == framework.layout
    wrong: list[str] = []
    refused = excused = 0
    for torn in torn_versions(story.output, last, tmp_path):
        look = await look_at(torn.root)
        called_whole = {candidate.name for candidate in look.whole if touches(look.inventory.checkpoints[candidate.name], last, torn.path)}
        if not called_whole:
            refused += 1
        elif any(Path(torn.path).match(pattern) for pattern in excuses(framework, torn)):
            excused += 1
        else:
            wrong.append(f"{torn.path} {torn.how}: {sorted(called_whole)} called whole")
        shutil.rmtree(torn.root)
    record_property("measured", f"{framework.name}: {refused} torn versions of {len(paths_of(last))} files refused, {excused} excused")
    assert not wrong


def excuses(framework: Framework, torn: Torn) -> Iterable[str]:
    return framework.endless if torn.how.startswith("cut") else framework.optional if torn.how == "missing" else ()


def touches(found: LocalCheckpoint, last: LocalCheckpoint, path: str) -> bool:
    """Whether it is the torn checkpoint, a part of it, or what holds it."""
    return found.name == last.name or found.name.startswith(f"{last.name}/") or path in paths_of(found)


def paths_of(checkpoint: LocalCheckpoint) -> list[str]:
    base = checkpoint.name if checkpoint.unit is Unit.DIRECTORY else checkpoint.stage
    return [f"{base}/{file.path}" if base else file.path for file in checkpoint.files]


def torn_versions(output: Path, last: LocalCheckpoint, folder: Path) -> Iterator[Torn]:
    """Copies of all that lies there, in each of which one file of the last checkpoint is torn. Times are as they were."""
    for path in paths_of(last):
        for how, share in CUTS.items():
            root = folder / "torn"
            shutil.copytree(output, root, symlinks=True, copy_function=os.link)
            whole = (root / path).read_bytes()
            found = (root / path).stat()
            (root / path).unlink()
            if share is not None:
                (root / path).write_bytes(whole[: min(int(len(whole) * share), len(whole) - 1)])
                os.utime(root / path, ns=(found.st_atime_ns, found.st_mtime_ns))
            yield Torn(path, how, root)
