"""Carries one whole checkpoint into the bucket: send, prove, commit. One call is one attempt; the replicator decides on the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from spotguard.core.comparison import Likeness
from spotguard.core.manifest import Host, Manifest
from spotguard.core.timestamps import format_time
from spotguard.ports.checkpoint_volume import Copying
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import StoreError
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.durations import Duration, Durations
from spotguard.services.replication.records import Record
from spotguard.services.upload.checkpoint_upload import CheckpointUpload, SentFile, UploadTools, same_content
from spotguard.services.upload.commit import Capture, NotAsSent, check_uploads, create_manifest, draft
from spotguard.services.upload.errand import ChangedWhileSending

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CarrierSettings:
    host: Host
    watch_dir: str
    held_files: int
    """How many files may be held open for one checkpoint."""


class Carrier:
    def __init__(
        self,
        tools: UploadTools,
        committed: Committed,
        clock: Clock,
        settings: CarrierSettings,
        *,
        on_commit: Callable[[Manifest], None],
        durations: Durations,
    ) -> None:
        self._tools = tools
        self._committed = committed
        self._clock = clock
        self._settings = settings
        self._on_commit = on_commit
        self._durations = durations

    async def carry(self, record: Record, capture: Capture, upload: CheckpointUpload, *, reason: str) -> None:
        """Commit what was captured. On return the manifest is durable and `record` says so.

        Raises FileVanished, ChangedWhileSending, CannotRead, NotAsSent, ForeignManifest or a StoreError; what was sent stays sent."""
        began = self._clock.monotonic()
        files = capture.checkpoint.files
        if record.copying is Copying.ALWAYS or self._tools.volume.holds_are_safe():
            await upload.hold(files, self._settings.held_files, record.copying)
        await upload.send(files)
        await self._refuse_rewritten(capture, upload)
        sent = dict(upload.sent)  # read by threads while others may go early
        try:
            await check_uploads(self._tools.store, self._tools.keys, capture, sent, self._tools.offload)
        except NotAsSent as error:
            upload.doubt(error.paths)
            raise
        manifest = await self._commit(record, capture, sent, reason)
        seconds = self._clock.monotonic() - began
        latency = self._clock.wall().timestamp() - capture.checkpoint.newest_change_ns / 1e9
        self._durations.observe(Duration.UPLOAD, seconds)
        self._durations.observe(Duration.COMMIT_LATENCY, latency)
        settled = upload.tally.settle()  # all attempts, and what went early
        if not record.is_committed:
            await upload.rest()  # overtaken: the next generation begins with an upload of its own
        log.info(
            "checkpoint.committed",
            name=manifest.name,
            step=manifest.step,
            generation=manifest.generation,
            reason=manifest.reason,
            files=len(files),
            size_bytes=manifest.total_bytes,
            sent_bytes=settled.sent,
            streamed_bytes=settled.ahead,
            reused_bytes=settled.reused,
            seconds=round(seconds, 3),
            since_last_write_seconds=round(latency, 3),
        )
        self._on_commit(manifest)
        await self._note_last_sync(manifest)

    async def _commit(self, record: Record, capture: Capture, sent: Mapping[str, SentFile], reason: str) -> Manifest:
        if record.draft is None or record.draft[0] is not capture:
            if record.draft is not None:
                self._committed.forget()  # of other content, and never answered: it may be there, so the numbers must be read again
            await self._committed.load()
            write = partial(
                draft,
                capture,
                sent,
                keys=self._tools.keys,
                generation=self._committed.generation(record.name) + 1,
                reason=reason,
                host=self._settings.host,
                committed_at=self._clock.wall(),
            )
            manifest = await self._tools.offload(len(capture.checkpoint.files), write)
            # kept for a repetition: a commit whose answer was lost is recognised by its bytes
            record.draft = (capture, manifest)
        manifest = record.draft[1]
        key = await create_manifest(self._tools.store, self._tools.keys, manifest, self._tools.offload)
        self._committed.add(manifest, key)
        record.committed, record.likeness, record.capture, record.draft = manifest, Likeness.SAME, None, None
        if record.overtaken:  # what lies on disk is newer, and has to be compared with this
            record.overtaken, record.recognised, record.likeness = False, False, None
        return manifest

    async def _refuse_rewritten(self, capture: Capture, upload: CheckpointUpload) -> None:
        """What is gone by now, or replaced by another file, was sent as it was; what is there must still be what was sent.

        All files were opened, or copied, with the stats that they had together when they were captured, so they belong together."""
        stats = await self._tools.volume.stat([file.source for file in capture.checkpoint.files])
        for file in capture.checkpoint.files:
            now = stats.get(file.source)
            if now is None or upload.outlives(file) or (now.device, now.inode) != (file.stat.device, file.stat.inode):
                continue
            if not same_content(now, file.stat):
                raise ChangedWhileSending(file.source)

    async def _note_last_sync(self, manifest: Manifest) -> None:
        now = self._clock.wall()
        document = {
            "last_sync": now.timestamp(),
            "sync_time": format_time(now),
            "local_dir": self._settings.watch_dir,
            "checkpoint": manifest.name,
        }
        try:
            await self._tools.store.replace(self._tools.keys.last_sync, json.dumps(document).encode())
        except StoreError as error:
            log.warning("last_sync.failed", error=str(error))  # for people and scripts only: the commit stands without it
