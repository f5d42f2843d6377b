"""What the contract is tried on: the fake and three servers, each with the ways in which it differs from S3 by name."""

from __future__ import annotations

from dataclasses import dataclass

from spotguard.adapters.s3.connection import S3Settings
from spotguard.ports.bulk_fetch import BulkFetch
from spotguard.ports.bulk_send import BulkSend
from spotguard.ports.object_store import ObjectStore
from spotguard.ports.part_transfer import PartTransfer
from spotguard.ports.stored_content import StoredContent

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Quirks:
    """False: does it otherwise than S3."""

    name: str
    keeps_crc64nvme: bool = True
    """HEAD tells the checksum."""
    proves_the_whole: bool = True
    """Complete refuses a wrong full-object checksum."""
    complete_only_new: bool = True
    """Complete heeds `If-None-Match: *`."""
    forgets_completed_uploads: bool = True
    """A second Complete of the same upload is UploadMissing, not success once more."""
    checks_credentials: bool = True
    lists_part_sums: bool = True
    starts_after_by_bytes: bool = True
    """`StartAfter` compares keys and not their percent-encoded forms."""
    tells_parts_of_missing_uploads: bool = True
    """A part for an aborted upload is UploadMissing, not an internal error."""
    copies_only_new: bool = True
    """CopyObject heeds `If-None-Match: *`; where it does not, copies are made of parts."""
    proves_copies: bool = True
    """CopyObject, or a HEAD after it, tells the checksum of the copy."""
    proves_copied_parts: bool = True
    """UploadPartCopy tells the checksum of the part; else its ETag is the MD5 of its bytes."""
    dates_uploads: bool = True
    """ListMultipartUploads tells when one was begun (moto: always in 2010)."""
    tells_completes_of_missing_uploads: bool = True
    """Completing an aborted upload is UploadMissing, not an internal error (Ceph: `already in progress`)."""


MEMORY = Quirks("memory", checks_credentials=False)
MOTO = Quirks(
    "moto",
    proves_the_whole=False,
    forgets_completed_uploads=False,
    copies_only_new=False,
    proves_copied_parts=False,
    dates_uploads=False,
    checks_credentials=False,
    lists_part_sums=False,
    tells_parts_of_missing_uploads=False,
    tells_completes_of_missing_uploads=False,
)
CEPH = Quirks(
    "ceph",
    keeps_crc64nvme=False,
    proves_the_whole=False,
    complete_only_new=False,
    copies_only_new=False,
    proves_copies=False,
    proves_copied_parts=False,
    forgets_completed_uploads=False,
    lists_part_sums=False,
    tells_completes_of_missing_uploads=False,
)
LOCALSTACK = Quirks("localstack", checks_credentials=False, copies_only_new=False, starts_after_by_bytes=False)


@dataclass(frozen=True, slots=True)
class Bench:
    """One empty bucket."""

    store: ObjectStore
    transfer: PartTransfer
    stored: StoredContent
    bulk: BulkFetch
    bulk_send: BulkSend
    quirks: Quirks
    settings: S3Settings | None
    """How to get there by another connection; None for the fake."""
