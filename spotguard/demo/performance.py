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
from spotguard.demo.world import BUCKET, Cloud, Pace


def perform(narrator: Narrator, *, keep: bool = False, pace: Pace | None = None) -> Summary:
    """Play the story and clear everything away, also when it fails or is interrupted.

    Raises MotoMissing, PromiseBroken, DaemonTrouble. With `keep` the folder stays and its path is told.
    """
    with ExitStack() as scope:
        folder = Path(tempfile.mkdtemp(prefix="spotguard-demo-"))
        if keep:
            scope.callback(narrator.tell, f"left behind: {folder}")
        else:
            scope.callback(shutil.rmtree, folder, ignore_errors=True)
        server = scope.enter_context(EmbeddedS3(BUCKET, log=folder / "s3.log"))
        metadata = scope.enter_context(MetadataProcess(log=folder / "metadata.log"))
        cloud = Cloud(s3_url=server.url, metadata=metadata)
        return Story(folder, cloud=cloud, pace=pace or Pace(), narrator=narrator, scope=scope).play()
