"""boto3's clients for one bucket, made when they are first needed: they know every operation, and the rules of where S3 is.

Every failure leaves as a port error; boto3 retries and follows redirects nowhere, because there is one retry layer and because our own
requests would not follow. Loaded only by who needs it (`access`): boto3 takes longer to load than a whole restore to begin.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from spotguard.adapters.s3.clock import StoreClock
from spotguard.adapters.s3.credentials import AwsIdentity
from spotguard.adapters.s3.errors import STALE_CREDENTIALS, STRANGER_FIX, Subject
from spotguard.adapters.s3.failures import from_botocore
from spotguard.adapters.s3.route import Route, is_custom
from spotguard.adapters.s3.settings import S3Settings
from spotguard.ports.object_store import StoreRejected, StoreUnavailable

_CONNECT_SECONDS = 5  # also bounds a stalled send (urllib3 keeps it on the socket)
_SAME_WITH_BODY: dict[str, tuple[str, dict[str, Any]]] = {
    "head_bucket": ("list_objects_v2", {"MaxKeys": 1}),
    "head_object": ("get_object", {"Range": "bytes=0-0"}),
}
_UNEXPLAINED = (400, 403)


@dataclass(frozen=True, slots=True)
class _Opened:
    route: Route
    client: Any


class S3Clients:
    """Each verb blocks: for a thread, and for several."""

    def __init__(self, settings: S3Settings, identity: AwsIdentity, clock: StoreClock, stall_seconds: float) -> None:
        self._settings, self._identity, self._clock = settings, identity, clock
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def ask(self, operation: str, subject: Subject, parameters: Mapping[str, Any], *, proof: str | None, max_body: int) -> Any:
        """See `S3Access.call`."""
        with self._told(subject):
            answer = _ask(self._open().client, operation, {"Bucket": self._settings.bucket, **parameters})
            if proof is not None and answer.get(proof) is None:
                if "Body" in answer:
                    answer["Body"].close()
                raise StoreUnavailable(f"{subject}: the answer is not S3's (it has no {proof})", STRANGER_FIX)
            if "Body" in answer:
                answer["Body"] = _whole_body(answer, subject, max_body)
            return answer

    def route(self, subject: Subject) -> Route:
        """Where our own requests must go, of the present credentials. Raises port errors."""
        with self._told(subject):
            return self._open().route

    def known_region(self) -> str | None:
        """The region as configured, without asking the bucket; a custom endpoint has one in any case."""
        region, client = self._client(self._identity.session(), None)
        client.close()
        return region

    def close(self) -> None:
        with self._lock:
            self._shut()

    @contextmanager
    def _told(self, subject: Subject) -> Iterator[None]:
        """Failures as port errors; credentials that are said to be stale are read again at the next request."""
        try:
            yield
        except (BotoCoreError, ClientError, ResponseParserError, OSError) as error:
            if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in STALE_CREDENTIALS:
                self._identity.renew()
            raise from_botocore(error, subject) from error

    def _open(self) -> _Opened:
        with self._lock:
            if self._opened and self._opened.route.generation == self._identity.generation:
                return self._opened
            self._shut()
            generation, session = self._identity.generation, self._identity.session()
            region, found = self._client(session, None)
            if region is None:
                region = _region_of(found, self._settings.bucket)
                found.close()
                _, found = self._client(session, region)
            endpoint = found.meta.endpoint_url.rstrip("/")
            bundle = session.get_config_variable("ca_bundle")
            route = Route(region, endpoint, is_custom(endpoint) or "." in self._settings.bucket, bundle, generation)
            self._opened = _Opened(route, found)
            return self._opened

    def _client(self, session: Any, region: str | None) -> tuple[str | None, Any]:
        """A client, and its region if that is known for sure."""
        known = region or self._settings.region or session.get_config_variable("region")

        def make(style: str) -> Any:
            config = self._config(style)
            endpoint = self._settings.endpoint_url
            return self._identity.client("s3", region_name=known or "us-east-1", endpoint_url=endpoint, config=config)

        client = make("path" if "." in self._settings.bucket else "virtual")
        if is_custom(client.meta.endpoint_url):  # by our setting or by AWS_ENDPOINT_URL
            client.close()
            client, known = make("path"), known or "us-east-1"
        client.meta.events.register("before-call.s3", _stay)
        client.meta.events.register("after-call.s3", self._note_date)
        return known, client

    def _config(self, style: str) -> Config:
        return Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=self._stall_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
            max_pool_connections=self._settings.connections,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"},  # type: ignore[arg-type] # the stubs want literals
        )

    def _shut(self) -> None:
        if self._opened:
            self._opened.client.close()
            self._opened = None

    def _note_date(self, parsed: Any, **_: Any) -> None:
        headers = (parsed or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._clock.observe({name.lower(): value for name, value in headers.items()})


def _whole_body(answer: Any, subject: Subject, limit: int) -> bytes:
    with contextlib.closing(answer["Body"]) as body:  # itself as a context is the raw stream, whose errors are not botocore's
        if answer["ContentLength"] > limit:
            raise StoreRejected(f"{subject}: it has {answer['ContentLength']} bytes, more than the {limit} allowed")
        return bytes(body.read())


def _ask(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
    """The refusal of a HEAD has no body that could say why: it is asked for, so that stale credentials do not look like a bad request."""
    try:
        return getattr(client, operation)(**parameters)
    except ClientError as error:
        if operation in _SAME_WITH_BODY and error.response["ResponseMetadata"]["HTTPStatusCode"] in _UNEXPLAINED:
            same, more = _SAME_WITH_BODY[operation]
            answer = getattr(client, same)(**parameters, **more)
            if "Body" in answer:
                answer["Body"].close()
        raise


def _stay(params: dict[str, Any], **_: Any) -> None:
    """Tell botocore's region redirector that it has been redirected already, so that a wrong region is an error."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def _region_of(client: Any, bucket: str) -> str:
    """The bucket's region. S3 names it even to those it refuses. Raises ClientError where it does not."""
    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        if "x-amz-bucket-region" not in answer["ResponseMetadata"].get("HTTPHeaders", {}):
            raise
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "us-east-1"))
