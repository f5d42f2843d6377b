"""boto3's way to one bucket: finds the region, makes the clients when they are first needed, runs calls in threads.

Nothing here needs the network before the first call. Every failure leaves as a port error; boto3 retries and follows
redirects nowhere, because there is one retry layer and because our own requests would not follow.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from spotguard.adapters.aws_credentials import AwsIdentity
from spotguard.adapters.daemon_threads import DaemonThreads
from spotguard.adapters.quick_reads import QuickReads
from spotguard.adapters.s3_errors import STALE_CREDENTIALS, Subject
from spotguard.adapters.s3_failures import from_botocore
from spotguard.adapters.s3_route import Route, is_custom, plain_route
from spotguard.adapters.s3_settings import S3Settings
from spotguard.adapters.store_clock import StoreClock
from spotguard.ports.object_store import BucketMissing, ObjectMissing, StoreRejected, StoreUnavailable

STALL_SECONDS = 10.0
"""How long nothing at all may move before a request is tried again on another connection: a twelfth of what a notice leaves."""
_CONNECT_SECONDS = 5  # also bounds a stalled send (urllib3 keeps it on the socket)
_SAME_WITH_BODY: dict[str, tuple[str, dict[str, Any]]] = {
    "head_bucket": ("list_objects_v2", {"MaxKeys": 1}),
    "head_object": ("get_object", {"Range": "bytes=0-0"}),
}
_UNEXPLAINED = (400, 403)
_STRANGER_FIX = "check destination.endpoint_url, and what answers instead of S3 (a proxy, a captive portal)"
PATIENT_SECONDS = 90.0
"""Complete answers 200 at once and may work for minutes, sending white space."""


@dataclass(frozen=True, slots=True)
class _Opened:
    route: Route
    quick: Any
    patient: Any


class S3Access:
    """Calls of boto3's S3 client on one bucket."""

    def __init__(self, settings: S3Settings, *, stall_seconds: float = STALL_SECONDS, patient_seconds: float = PATIENT_SECONDS) -> None:
        """`stall_seconds`: how long an answer may not move at all; `patient_seconds`: that of a Complete."""
        self.settings = settings
        self._stall_seconds, self._patient_seconds = stall_seconds, patient_seconds
        self.identity = AwsIdentity(settings.metadata_endpoint)
        self.clock = StoreClock()
        self._threads = DaemonThreads("spotguard-s3", settings.connections)
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._route: Route | None = None
        self._reads = QuickReads(settings.bucket, self.identity, self.clock, stall_seconds)

    @property
    def custom_endpoint(self) -> bool:
        """Whether something else than S3 may answer; as long as it was not asked yet: whether it is not known to be S3."""
        return self._route is None or self._route.is_custom

    def subject(self, verb: str, key: str = "") -> Subject:
        return Subject(verb, self.settings.bucket, key)

    async def call(
        self,
        operation: str,
        subject: Subject,
        parameters: Mapping[str, Any],
        *,
        proof: str | None,
        patient: bool = False,
        max_body: int = 0,
    ) -> Any:
        """One request, with boto3's names, `Bucket` added; a body of the answer is read whole. Cancelled: it may still arrive.

        `proof`: what every true answer has. Without it somebody else has answered (a captive portal says 200 to everything, which
        botocore takes for an empty listing): StoreUnavailable. Raises port errors, StoreRejected for a body of more than `max_body`
        bytes."""

        def request() -> Any:
            if not patient and (answer := self._read_quickly(operation, subject, parameters, max_body)) is not None:
                return answer
            self.identity.frozen()  # what is wrong with the credentials is told here, in words that are known
            opened = self._open()
            client = opened.patient if patient else opened.quick
            answer = _ask(client, operation, {"Bucket": self.settings.bucket, **parameters})
            if proof is not None and answer.get(proof) is None:
                if "Body" in answer:
                    answer["Body"].close()
                raise StoreUnavailable(f"{subject}: the answer is not S3's (it has no {proof})", _STRANGER_FIX)
            if "Body" in answer:
                answer["Body"] = _whole_body(answer, subject, max_body)
            return answer

        try:
            return await self._threads.run(request)
        except (BotoCoreError, ClientError, ResponseParserError, OSError) as error:
            self._note_stale(error)
            raise from_botocore(error, subject) from error

    async def route(self, subject: Subject) -> Route:
        """Where our own requests must go. Raises port errors."""
        if self._route and self._route.generation == self.identity.generation:
            return self._route
        try:
            return await self._threads.run(self._find_route)
        except (BotoCoreError, ClientError, OSError) as error:
            raise from_botocore(error, subject) from error

    async def identify(self) -> None:
        """Raises StoreDenied where there are no credentials."""
        try:
            await self._threads.run(self.identity.session)
        except BotoCoreError as error:
            raise from_botocore(error, self.subject("use")) from error

    async def check_bucket(self) -> None:
        """Raises BucketMissing, StoreDenied, StoreUnavailable. A denial may only mean that ListBucket is bound to a prefix."""
        subject = self.subject("use")
        try:
            await self.call("head_bucket", subject, {}, proof=None)
        except ObjectMissing as error:  # a HEAD has no body that could say NoSuchBucket
            text = f"{subject}: the bucket does not exist"
            raise BucketMissing(text, f"create the bucket {self.settings.bucket}, or correct destination.url") from error

    def known_region(self) -> str | None:
        """The region as configured, without asking the bucket; a custom endpoint has one in any case."""
        session = self.identity.session()
        region, client = self._client(session, None, self._stall_seconds)
        client.close()
        return region

    def note_refusal(self, code: str) -> None:
        """Read the credentials again at the next request if this error code says that they are stale."""
        if code in STALE_CREDENTIALS:
            self.identity.renew()

    def close(self) -> None:
        """Close idle connections; calls under way end by themselves and are heard by nobody."""
        busy = self._threads.close()
        for thread in busy:
            thread.join(0.2)
        self._reads.close()
        with self._lock:
            self._shut()

    def _note_stale(self, error: Exception) -> None:
        if isinstance(error, ClientError):
            self.note_refusal(str(error.response.get("Error", {}).get("Code")))

    def _find_route(self) -> Route:
        """In a thread."""
        generation = self.identity.generation
        plain = plain_route(self.identity.session(), self.settings, generation)
        self.identity.frozen()
        self._route = plain or self._open().route
        return self._route

    def _read_quickly(self, operation: str, subject: Subject, parameters: Mapping[str, Any], max_body: int) -> Any:
        """The answer without boto3; None where there is a client already, or boto3 had better be asked. In a thread."""
        if self._opened is not None:
            return None
        generation = self.identity.generation
        route = self._route if self._route and self._route.generation == generation else None
        route = route or plain_route(self.identity.session(), self.settings, generation)
        if route is None:
            return None
        self._route = route
        return self._reads.answer(route, operation, {"Bucket": self.settings.bucket, **parameters}, subject, max_body)

    def _open(self) -> _Opened:
        """In a thread."""
        with self._lock:
            if self._opened and self._opened.route.generation == self.identity.generation:
                return self._opened
            self._shut()
            generation, session = self.identity.generation, self.identity.session()
            region, found = self._client(session, None, self._stall_seconds)
            if region is None:
                region = _region_of(found, self.settings.bucket)
                found.close()
                _, found = self._client(session, region, self._stall_seconds)
            _, patient = self._client(session, region, self._patient_seconds)
            endpoint = found.meta.endpoint_url.rstrip("/")
            bundle = session.get_config_variable("ca_bundle")
            route = Route(region, endpoint, is_custom(endpoint) or "." in self.settings.bucket, bundle, generation)
            self._opened = _Opened(route, found, patient)
            self._route = route if self._route is None or self._route.generation != generation else self._route
            return self._opened

    def _client(self, session: Any, region: str | None, read_seconds: float) -> tuple[str | None, Any]:
        """A client, and its region if that is known for sure."""
        known = region or self.settings.region or session.get_config_variable("region")

        def make(style: str) -> Any:
            config = self._config(style, read_seconds)
            return self.identity.client("s3", region_name=known or "us-east-1", endpoint_url=self.settings.endpoint_url, config=config)

        client = make("path" if "." in self.settings.bucket else "virtual")
        if is_custom(client.meta.endpoint_url):  # by our setting or by AWS_ENDPOINT_URL
            client.close()
            client, known = make("path"), known or "us-east-1"
        client.meta.events.register("before-call.s3", _stay)
        client.meta.events.register("after-call.s3", self._note_date)
        return known, client

    def _config(self, style: str, read_seconds: float) -> Config:
        return Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
            max_pool_connections=self.settings.connections,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"},  # type: ignore[arg-type] # the stubs want literals
        )

    def _shut(self) -> None:
        if self._opened:
            self._opened.quick.close()
            self._opened.patient.close()
            self._opened = None

    def _note_date(self, parsed: Any, **_: Any) -> None:
        headers = (parsed or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.clock.observe({name.lower(): value for name, value in headers.items()})


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
