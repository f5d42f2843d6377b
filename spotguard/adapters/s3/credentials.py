"""The AWS credentials of this process, for boto3 and for our own requests alike, and how they are read again when they went stale."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spotguard.adapters.s3.environment import AwsSurroundings, SigningKeys, StaticKeys, plain_environment
from spotguard.adapters.s3.errors import Subject
from spotguard.ports.object_store import StoreError

if TYPE_CHECKING:  # loaded when it is needed, which takes longer than all else that a restore begins with
    import botocore.session

_REREAD_SECONDS = 5.0
"""A wrong key must not make every request read the configuration again."""
_SWITCHES = ("use_dualstack_endpoint", "use_fips_endpoint", "ignore_configured_endpoint_urls")
_SECTIONS = ("s3", "services", "endpoint_url")
"""Of a profile: settings that change where S3 is, or how it is addressed."""


class CredentialsFault(Exception):
    """There are no usable credentials; the cause is what botocore says of it."""

    def about(self, subject: Subject) -> StoreError:
        from spotguard.adapters.s3.failures import from_botocore

        cause = self.__cause__
        assert isinstance(cause, Exception)
        return from_botocore(cause, subject)


class AwsIdentity:
    """The credentials: those of the environment where that says it all, else those of one session of botocore, which is made when it is
    first needed. Used by several threads.

    `renew` starts over with a new session, since botocore reads static keys (environment, files) only once.
    """

    def __init__(self, metadata_endpoint: str | None = None) -> None:
        self._metadata_endpoint = metadata_endpoint
        self._lock = threading.Lock()
        self._plain: tuple[StaticKeys, AwsSurroundings] | None = None
        self._session: botocore.session.Session | None = None
        self._maker: tuple[botocore.session.Session, Any] | None = None
        """A session of boto3 over this one of botocore."""
        self._made_at = 0.0
        self.generation = 0
        """Grows with each `renew`; what was made from an older session is stale."""

    def surroundings(self) -> AwsSurroundings:
        """What is set beside the configuration. Raises CredentialsFault where there are no credentials (yet): asking again looks again."""
        if (plain := self._found_plain()) is not None:
            return plain[1]
        with _as_fault():
            session = self.session()
            return surroundings_of(session)

    def session(self) -> botocore.session.Session:
        """For whoever needs more of botocore than credentials.

        Raises NoCredentialsError where there are none (yet), BotoCoreError where they can not be had: asking again later looks again."""
        from botocore.exceptions import NoCredentialsError

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
        """Forget what was found, unless it is only seconds old; whether it was forgotten."""
        with self._lock:
            if (self._session is None and self._plain is None) or time.monotonic() - self._made_at < _REREAD_SECONDS:
                return False
            self._session = self._plain = None
            self.generation += 1
            return True

    def frozen(self) -> SigningKeys:
        """To sign one request with; botocore refreshes them here when they are about to expire, which may take a while: for a thread.

        Raises CredentialsFault."""
        if (plain := self._found_plain()) is not None:
            return _fit_for_headers(plain[0])
        with _as_fault(), _told_as_botocore_does():
            credentials: Any = self.session().get_credentials()
            keys: SigningKeys = credentials.get_frozen_credentials()
        return _fit_for_headers(keys)

    def _found_plain(self) -> tuple[StaticKeys, AwsSurroundings] | None:
        """None from when botocore was asked on: there is one source at a time."""
        with self._lock:
            if self._plain is None and self._session is None and (found := plain_environment(os.environ)) is not None:
                self._plain, self._made_at = found, time.monotonic()
            return self._plain

    def _new_session(self) -> botocore.session.Session:
        import botocore.session

        core = botocore.session.Session()
        # botocore's own parser of times takes half of the time that a listing takes to be read
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        if self._metadata_endpoint:
            core.set_config_variable("ec2_metadata_service_endpoint", self._metadata_endpoint)
        return core


def surroundings_of(session: botocore.session.Session) -> AwsSurroundings:
    """The same as botocore has it, from its files as well."""
    profile = session.get_scoped_config()
    moves = any(session.get_config_variable(name) for name in _SWITCHES) or any(name in profile for name in _SECTIONS)
    return AwsSurroundings(session.get_config_variable("region"), session.get_config_variable("ca_bundle"), moves)


def _fit_for_headers(keys: SigningKeys) -> SigningKeys:
    """Raises CredentialsFault where a request could not carry them (a line break at the end of a mounted secret): what refuses it later
    takes it for a fault of the network, and says the token in full."""
    carried = f"{keys.access_key}{keys.token or ''}"
    if carried.isascii() and carried.isprintable():
        return keys
    from botocore.exceptions import CredentialRetrievalError

    with _as_fault():
        wrong = "the access key or the session token has a line break in it, or another character that no key has"
        raise CredentialRetrievalError(provider="what is configured", error_msg=wrong)


@contextmanager
def _as_fault() -> Iterator[None]:
    """Whatever botocore says when it looks for credentials; a role that may not be taken is a ClientError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise CredentialsFault(str(error)) from error


@contextmanager
def _told_as_botocore_does() -> Iterator[None]:
    """Credentials that are old when they come (a clock that is hours ahead) are a RuntimeError of botocore's, a `credential_process` that
    is missing or prints anything but its JSON an OSError, ValueError or KeyError: no fault of a file, and no bug of ours."""
    from botocore.exceptions import CredentialRetrievalError

    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise CredentialRetrievalError(provider="what is configured", error_msg=f"{type(error).__name__}: {error}") from error


def _moment(told: Any) -> datetime:
    """A time of an answer: RFC 3339 in bodies, as HTTP writes it in headers."""
    try:
        moment = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        from botocore.utils import parse_timestamp

        return parse_timestamp(told)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
