"""What a daemon needs of the world outside."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.ports.announcements import Announcements, SignalJournal
from spotguard.ports.bulk_send import BulkSend
from spotguard.ports.checkpoint_volume import CheckpointVolume
from spotguard.ports.clock import Clock
from spotguard.ports.metadata_service import MetadataService
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.offload import Offload
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.stored_content import StoredContent
from spotguard.ports.trainer import Trainer
from spotguard.ports.writer_watch import WriterWatch


@dataclass(frozen=True, slots=True)
class Ports:
    """The edges of the daemon."""

    store: ObjectStore
    transfer: PartTransfer
    bulk: BulkSend
    stored: StoredContent
    volume: CheckpointVolume
    trainer: Trainer
    announcements: Announcements
    journal: SignalJournal
    writer_watch: WriterWatch
    clock: Clock
    offload: Offload
    metadata: MetadataService | None
