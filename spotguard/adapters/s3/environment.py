"""What AWS's libraries find where all of it stands in the environment: then it is known without loading them.

botocore takes a quarter of the time that a command needs to start, and a restore needs nothing else of it. Its rules are many, so this
knows one case only, and anything else that it sees is a reason to ask botocore.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class SigningKeys(Protocol):
    """What a request is signed with; also botocore's own."""

    @property
    def access_key(self) -> str: ...

    @property
    def secret_key(self) -> str: ...

    @property
    def token(self) -> str | None: ...


class StaticKeys(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


@dataclass(frozen=True, slots=True)
class AwsSurroundings:
    """What is set beside our own configuration, as botocore has it."""

    region: str | None
    ca_bundle: str | None
    moves_s3: bool = False
    """Whether anything may change where S3 is, or how it is addressed."""


_REGIONS = ("AWS_DEFAULT_REGION", "AWS_REGION")
"""botocore reads the first only, other libraries the second."""
_UNDERSTOOD = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        *_REGIONS,
        # of no weight where there are keys
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "AWS_PAGER",
    }
)
_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}


def plain_environment(environ: Mapping[str, str]) -> tuple[StaticKeys, AwsSurroundings] | None:
    """The keys and the rest, exactly as botocore would find them; None where it may find anything else.

    The case: a key and its secret, no variable of AWS's with an effect that is not known here, and nothing in its files."""
    named = {name: value for name, value in environ.items() if name.startswith("AWS_")}
    access_key, secret_key = named.get("AWS_ACCESS_KEY_ID"), named.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or not named.keys() <= _UNDERSTOOD:
        return None
    region, other = (named.get(name) for name in _REGIONS)
    if (other is not None and other != region) or not all(_says_nothing(named.get(name, path)) for name, path in _FILES.items()):
        return None
    keys = StaticKeys(access_key, secret_key, named.get("AWS_SESSION_TOKEN") or None)
    return keys, AwsSurroundings(region, named.get("AWS_CA_BUNDLE"))


def _says_nothing(path: str) -> bool:
    """Whether a file of settings is absent or empty."""
    if "$" in path:
        return False  # botocore puts variables in
    try:
        with open(os.path.expanduser(path), "rb") as opened:
            return not opened.read(1)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
