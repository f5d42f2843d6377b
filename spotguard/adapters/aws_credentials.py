"""The AWS credentials of this process, for boto3 and for our own requests alike, and how they are read again when they went stale."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError
from botocore.utils import parse_timestamp

_REREAD_SECONDS = 5.0
"""A wrong key must not make every request read the configuration again."""


class AwsIdentity:
    """One session of botocore and its credentials, made when they are first needed. Used by several threads.

    `renew` starts over with a new session, since botocore reads static keys (environment, files) only once.
    """

    def __init__(self, metadata_endpoint: str | None = None) -> None:
        self._metadata_endpoint = metadata_endpoint
        self._lock = threading.Lock()
        self._session: botocore.session.Session | None = None
        self._maker: tuple[botocore.session.Session, Any] | None = None
        """A session of boto3 over this one of botocore."""
        self._made_at = 0.0
        self.generation = 0
        """Grows with each `renew`; what was made from an older session is stale."""

    def session(self) -> botocore.session.Session:
        """Raises NoCredentialsError where there are none (yet), BotoCoreError where they can not be had: asking again later looks again."""
        with self._lock:
            if self._session is None:
                made = self._new_session()
                with _told_as_botocore_does():
                    found = made.get_credentials()
                if found is None:
                    raise NoCredentialsError
                self._session, self._made_at = made, time.monotonic()
            return self._session

    def client(self, service: str, **settings: Any) -> Any:
        """boto3's client of a service. Takes a tenth of a second to make, and loading boto3 is part of that."""
        import boto3.session

        session = self.session()
        with self._lock:
            if self._maker is None or self._maker[0] is not session:
                self._maker = session, boto3.session.Session(botocore_session=session)
            maker: Any = self._maker[1]
            return maker.client(service, **settings)

    def renew(self) -> bool:
        """Forget the session, unless it is only seconds old; whether it was forgotten."""
        with self._lock:
            if self._session is None or time.monotonic() - self._made_at < _REREAD_SECONDS:
                return False
            self._session = None
            self.generation += 1
            return True

    def frozen(self) -> ReadOnlyCredentials:
        """To sign one request with; botocore refreshes them here when they are about to expire, which may take a while: for a thread.

        Raises BotoCoreError."""
        credentials: Credentials | Any = self.session().get_credentials()
        with _told_as_botocore_does():
            return credentials.get_frozen_credentials()

    def _new_session(self) -> botocore.session.Session:
        core = botocore.session.Session()
        # botocore's own parser of times takes half of the time that a listing takes to be read
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        if self._metadata_endpoint:
            core.set_config_variable("ec2_metadata_service_endpoint", self._metadata_endpoint)
        return core


@contextmanager
def _told_as_botocore_does() -> Iterator[None]:
    """Credentials that are old when they come (a clock that is hours ahead) are a RuntimeError of botocore's, a `credential_process` that
    is missing or prints anything but its JSON an OSError, ValueError or KeyError: no fault of a file, and no bug of ours."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise CredentialRetrievalError(provider="what is configured", error_msg=f"{type(error).__name__}: {error}") from error


def _moment(told: Any) -> datetime:
    """A time of an answer: RFC 3339 in bodies, as HTTP writes it in headers."""
    try:
        moment = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return parse_timestamp(told)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
