"""What an object is created with."""

from __future__ import annotations

from collections.abc import Mapping

from spotguard.adapters.s3.access import S3Access


def creation_headers(access: S3Access, metadata: Mapping[str, str]) -> dict[str, str]:
    """The headers for its metadata, its encryption and its storage class."""
    return {f"x-amz-meta-{name.lower()}": value for name, value in metadata.items()} | access.settings.creation_headers()
