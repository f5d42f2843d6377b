"""ETags as stores write them: in quotes, Ceph in some answers without."""

from __future__ import annotations

from spotguard.adapters.s3.errors import Subject
from spotguard.ports.object_store import StoreUnavailable


def unquoted(etag: str | None, subject: Subject) -> str:
    """The token itself. Raises StoreUnavailable for none, and for one without its end: headers that broke off pass for whole ones."""
    if not etag or etag.startswith('"') != etag.endswith('"') or etag == '"':
        raise StoreUnavailable(f"{subject}: an answer with the ETag {etag!r} is no success", "check what stands between us and S3")
    return etag.strip('"')
