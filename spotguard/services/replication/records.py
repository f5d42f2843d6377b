"""What the replicator knows of each checkpoint. Records are mutable and have one owner, the replicator; others see `CheckpointStatus`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from spotguard.core.checkpoint import Assessment, CheckpointState, LocalCheckpoint, Order, Unfinished, stage_of, step_of
from spotguard.core.comparison import Likeness
from spotguard.core.manifest import Manifest
from spotguard.core.quiet import Observation
from spotguard.core.status import CheckpointStatus
from spotguard.ports.checkpoint_volume import Copying
from spotguard.services.upload.checkpoint_upload import CheckpointUpload
from spotguard.services.upload.commit import Capture

_FIRST_PATIENCE_SECONDS = 0.2
_LONGEST_PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class Record:
    """One name. Not frozen: it is the replicator's working memory, touched only from its loop and its tasks."""

    name: str
    local: LocalCheckpoint | None = None
    """As it lay on disk at the last look; None when it is gone."""
    observation: Observation | None = None
    assessment: Assessment = field(default_factory=lambda: Unfinished("not looked at yet"))
    capture: Capture | None = None
    """As it was when it became whole; set while it is whole and not committed."""
    committed: Manifest | None = None
    likeness: Likeness | None = None
    """Of what lies on disk to `committed`; None while that is not known."""
    upload: CheckpointUpload | None = None
    task: asyncio.Task[None] | None = None
    early: asyncio.Task[None] | None = None
    ahead: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """By path: what sends a file that is still being written."""
    superseded: str | None = None
    vanished: str | None = None
    failed: str | None = None
    draft: tuple[Capture, Manifest] | None = None
    """A manifest whose creation was tried and not answered, with what it is of."""
    recognised: bool = False
    """Whether `committed` and `likeness` hold for what lies on disk now."""
    overtaken: bool = False
    """Other content lies on disk already; what was captured is in copies or descriptors of ours and is committed first."""
    loses_to_rewrites: bool = False
    """An upload of this name was lost because its files were written over: the next one is sent from copies of ours."""
    retry_at: float = 0.0
    """Monotonic; not worked on before."""
    early_retry_at: float = 0.0
    patient_until: float = 0.0
    """Monotonic; content that changes again and again under the upload is met with more and more patience."""
    changes: int = 0
    failures: int = 0
    writing_since: float = 0.0
    """Monotonic; when the writing of the present content began."""
    write_seconds: float = 0.0
    """How long it has taken, as far as we saw it."""

    @property
    def stage(self) -> str:
        return stage_of(self.name)

    @property
    def not_before(self) -> float:
        """Monotonic; when it may be worked on again."""
        return max(self.retry_at, self.patient_until)

    @property
    def is_secured(self) -> bool:
        """Whether all that is still to be sent is held open: it can be sent although the trainer deletes it."""
        return self.capture is not None and self.upload is not None and self.upload.secures(self.capture.checkpoint.files)

    @property
    def has_gone_in_part(self) -> bool:
        """Whether something of what was captured is in the bucket."""
        return self.capture is not None and self.upload is not None and self.upload.uploaded_bytes(self.capture.checkpoint.files) > 0

    @property
    def is_committed(self) -> bool:
        """Whether what lies on disk (if anything) is what was committed last."""
        if self.committed is None:
            return False
        return self.local is None or self.likeness in (Likeness.SAME, Likeness.SHRUNK)

    @property
    def is_pending(self) -> bool:
        """Whole, storable and neither committed nor given up."""
        return self.capture is not None and not (self.superseded or self.vanished or self.failed)

    @property
    def given_up(self) -> str | None:
        return self.superseded or self.vanished or self.failed

    def quiet_seconds(self, now: float) -> float:
        return 0.0 if self.observation is None else max(0.0, now - self.observation.last_change)

    def order(self) -> Order:
        """Of the captured content; the generation is the one it would get."""
        return self.order_if_saved_at(int(self.capture.saved_at.timestamp()) if self.capture else 0)

    def order_if_saved_at(self, seconds: int) -> Order:
        """Of its next commit, whatever of it is captured; `seconds` since the epoch."""
        return Order.of(seconds, step_of(self.name), self.committed.generation + 1 if self.committed else 1)

    def state(self) -> CheckpointState:
        if self.failed:
            return CheckpointState.FAILED
        if self.superseded:
            return CheckpointState.SUPERSEDED
        if self.vanished:
            return CheckpointState.VANISHED
        if self.task is not None and self.capture is not None:  # else it is only noted down that it is committed
            return CheckpointState.UPLOADING
        if self.is_committed:
            return CheckpointState.COMMITTED
        if self.capture is not None:
            return CheckpointState.COMPLETE
        return CheckpointState.WRITING

    def why(self) -> str | None:
        if self.given_up:
            return self.given_up
        if self.capture is None and not self.is_committed and isinstance(self.assessment, Unfinished):
            return self.assessment.reason
        return None

    @property
    def copying(self) -> Copying:
        """Whether its files are worth a copy that nobody can write over while they are sent.

        Only what its framework writes over again and again, or what was lost twice in a row, is worth the space."""
        in_place = self.capture is not None and self.capture.checkpoint.in_place
        if (self.loses_to_rewrites and in_place) or self.changes > 1:
            return Copying.ALWAYS
        return Copying.IF_SHARED if in_place else Copying.NEVER

    def begin_anew(self) -> None:
        """Other content lies on disk: what was decided of the old one no longer holds."""
        self.capture, self.overtaken = None, False
        self.superseded = self.vanished = self.failed = None
        self.retry_at, self.failures = 0.0, 0

    def changed_under_us(self, now: float) -> None:
        """It changed while it was being sent: each time in a row is waited for longer, so that no copies without end are sent."""
        self.patient_until = now + min(_FIRST_PATIENCE_SECONDS * 2.0 ** min(self.changes, 8), _LONGEST_PATIENCE_SECONDS)
        self.changes += 1
        self.loses_to_rewrites = True


def status_of(record: Record) -> CheckpointStatus:
    local = record.capture.checkpoint if record.capture else record.local
    manifest = record.committed
    files = local.files if local else ()
    if local is not None:
        size, count = local.total_bytes, len(local.files)
    else:
        size, count = (manifest.total_bytes, len(manifest.files)) if manifest else (0, 0)
    state = record.state()
    uploaded = record.upload.uploaded_bytes(files) if record.upload else 0
    saved_at = record.capture.saved_at if record.capture else (manifest.saved_at if manifest else None)
    return CheckpointStatus(
        name=record.name,
        stage=record.stage,
        step=step_of(record.name),
        state=state,
        files=count,
        bytes=size,
        uploaded_bytes=size if state is CheckpointState.COMMITTED else min(size, uploaded),
        generation=manifest.generation if manifest else 0,
        saved_at=saved_at,
        committed_at=manifest.committed_at if manifest else None,
        why=record.why(),
    )
