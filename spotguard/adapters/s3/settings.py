"""Which bucket, and how to get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class S3Settings:
    """`region` and `endpoint_url` default to what boto3 finds; an endpoint means path style.

    `storage_class`, `sse` and `kms_key_id` are the bucket's own when None. `connections` bounds the requests of one kind that
    are under way (parts fetched, small requests); parts sent are bounded by the caller. `metadata_endpoint`: where the
    instance's credentials come from, when it is not the default.
    """

    bucket: str
    region: str | None = None
    endpoint_url: str | None = None
    storage_class: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    metadata_endpoint: str | None = None
    connections: int = 8

    def creation_headers(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request that makes an object with this metadata, or begins one."""
        named = {
            "x-amz-storage-class": self.storage_class,
            "x-amz-server-side-encryption": self.sse,
            "x-amz-server-side-encryption-aws-kms-key-id": self.kms_key_id,
        }
        told = {name: value for name, value in named.items() if value}
        return {f"x-amz-meta-{name.lower()}": value for name, value in metadata.items()} | told

    def creation_parameters(self) -> dict[str, str]:
        """The same for boto3, without the metadata."""
        named = {"StorageClass": self.storage_class, "ServerSideEncryption": self.sse, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in named.items() if value}
