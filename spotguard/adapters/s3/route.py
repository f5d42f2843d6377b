"""Where requests for a bucket go, and the cases in which that is known without boto3's rules.

A client of boto3 costs a tenth of a second: it reads S3's model and rules, megabytes of JSON. A restore needs none if the configuration
leaves no question.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from spotguard.adapters.s3.environment import AwsSurroundings
from spotguard.adapters.s3.settings import S3Settings

_COMMON_REGION = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d+")
"""Those whose names end in amazonaws.com (botocore's partition `aws`)."""
_PLAIN_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""What can be a host's name."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests go."""

    region: str
    endpoint: str
    """Scheme, host and port, without the bucket."""
    path_style: bool
    ca_bundle: str | None
    generation: int
    """Of the credentials that it was made with."""

    @property
    def secure(self) -> bool:
        return self.endpoint.startswith("https://")

    @property
    def is_custom(self) -> bool:
        return is_custom(self.endpoint)


def is_custom(endpoint: str) -> bool:
    """Whether something else than S3 may answer there."""
    host = urlsplit(endpoint).hostname or ""
    return ".amazonaws." not in f".{host}"


def plain_route(found: AwsSurroundings, settings: S3Settings, generation: int) -> Route | None:
    """The route that boto3 would find too; None where only its rules know."""
    region, bundle = settings.region or found.region, found.ca_bundle
    if found.moves_s3:
        return None
    if settings.endpoint_url is not None:
        endpoint = settings.endpoint_url.rstrip("/")
        plain = is_custom(endpoint) and not urlsplit(endpoint).path
        return Route(region or "us-east-1", endpoint, True, bundle, generation) if plain else None
    if os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        return None
    if region is None or not _COMMON_REGION.fullmatch(region) or not _PLAIN_BUCKET.fullmatch(settings.bucket):
        return None
    if "--" in settings.bucket or settings.bucket.endswith("-s3alias"):
        return None  # a directory bucket, an access point: other hosts, other signatures
    return Route(region, f"https://s3.{region}.amazonaws.com", False, bundle, generation)
