"""Sets the scene for the demo and clears it away: temporary folder, embedded S3, metadata service."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from spotguard.demo.story import Narrator, Story
from spotguard.demo.summary import Summary
from spotguard.demo.world import Cloud, Pace, Wishes


class FolderInUse(Exception):
    """The folder that the machines are to have is not empty. `str()` is one line."""

    exit_status = 2
    fix = "name a folder that does not exist"


def perform(narrator: Narrator, *, keep: bool = False, pace: Pace | None = None, wishes: Wishes | None = None) -> Summary:
    """Play the story and clear everything away, also when it fails or is interrupted.

    Raises MotoMissing, PromiseBroken, DaemonTrouble, FolderInUse. With `keep` the folders stay and their paths are told.
    """
    wishes = wishes or Wishes()
    with ExitStack() as scope:
        if wishes.output is not None:
            _refuse_in_use(wishes.output)
            if keep:
                scope.callback(narrator.tell, f"left behind: {wishes.output}")
            else:
                scope.callback(shutil.rmtree, wishes.output, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix="spotguard-demo-"))
        if keep:
            scope.callback(narrator.tell, f"left behind: {folder}")
        else:
            scope.callback(shutil.rmtree, folder, ignore_errors=True)
        server = scope.enter_context(EmbeddedS3(wishes.bucket, log=folder / "s3.log"))
        metadata = scope.enter_context(MetadataProcess(log=folder / "metadata.log"))
        cloud = Cloud(s3_url=server.url, metadata=metadata, wishes=wishes)
        return Story(folder, cloud=cloud, pace=pace or Pace(), narrator=narrator, scope=scope).play()


def _refuse_in_use(folder: Path) -> None:
    """The folder goes with the first machine, and so would what somebody keeps in it."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise FolderInUse(f"{folder} is there already, and the demo deletes the folder of its machines")
