"""The way to one bucket for everything that is not the bytes of a file: finds out where it is, asks it in threads.

Nothing here needs the network before the first call. What lists and reads is answered by our own requests where nothing is unusual;
boto3 is asked for the rest, and loaded when it is.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spotguard.adapters.daemon_threads import DaemonThreads
from spotguard.adapters.s3.clock import StoreClock
from spotguard.adapters.s3.credentials import AwsIdentity, CredentialsFault
from spotguard.adapters.s3.errors import STALE_CREDENTIALS, Subject, error_of, refusal_of
from spotguard.adapters.s3.quick_reads import QuickReads
from spotguard.adapters.s3.route import Route, plain_route
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.wire_failures import from_wire
from spotguard.adapters.wire.exchange import Answer
from spotguard.ports.object_store import BucketMissing, ObjectMissing, StoreError

if TYPE_CHECKING:
    from spotguard.adapters.s3.clients import S3Clients

STALL_SECONDS = 10.0
"""How long nothing at all may move before a request is tried again on another connection: a twelfth of what a notice leaves."""


class S3Access:
    """Calls of S3's operations on one bucket, by the names and answers of boto3's client."""

    def __init__(self, settings: S3Settings, *, stall_seconds: float = STALL_SECONDS) -> None:
        """`stall_seconds`: how long an answer may not move at all."""
        self.settings = settings
        self._stall_seconds = stall_seconds
        self.identity = AwsIdentity(settings.metadata_endpoint)
        self.clock = StoreClock()
        self._threads = DaemonThreads("spotguard-s3", settings.connections)
        self._lock = threading.Lock()
        self._clients: S3Clients | None = None
        self._route: Route | None = None
        self._plain: tuple[int, Route | None] | None = None
        """Of a generation of credentials."""
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
        max_body: int = 0,
    ) -> Any:
        """One request, with boto3's names, `Bucket` added; a body of the answer is read whole. Cancelled: it may still arrive.

        `proof`: what every true answer has. Without it somebody else has answered (a captive portal says 200 to everything, which
        botocore takes for an empty listing): StoreUnavailable. Raises port errors, StoreRejected for a body of more than `max_body`
        bytes."""

        def request() -> Any:
            if (answer := self._read_quickly(operation, subject, parameters, max_body)) is not None:
                return answer
            self.identity.frozen()  # what is wrong with the credentials is told here, in words that are known
            clients = self._boto()
            self._take_route(clients.route(subject))
            return clients.ask(operation, subject, parameters, proof=proof, max_body=max_body)

        try:
            return await self._threads.run(request)
        except CredentialsFault as fault:
            raise fault.about(subject) from fault
        except OSError as error:
            raise from_wire(error, subject) from error

    async def route(self, subject: Subject) -> Route:
        """Where our own requests must go. Raises port errors."""

        def find() -> Route:
            self.identity.frozen()
            return self._take_route(self._plain_route() or self._boto().route(subject))

        if self._route and self._route.generation == self.identity.generation:
            return self._route
        try:
            return await self._threads.run(find)
        except CredentialsFault as fault:
            raise fault.about(subject) from fault

    async def identify(self) -> None:
        """Raises StoreDenied where there are no credentials."""
        try:
            await self._threads.run(self.identity.surroundings)
        except CredentialsFault as fault:
            raise fault.about(self.subject("use")) from fault

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
        return self._boto().known_region()

    def refused(self, answer: Answer, subject: Subject) -> StoreError:
        """What an answer to one of our own requests means, if it is no success. Credentials that it calls stale are read again at the
        next request."""
        refusal = refusal_of(answer.status, answer.headers, answer.body)
        if refusal.code in STALE_CREDENTIALS:
            self.identity.renew()
        return error_of(refusal, subject)

    def close(self) -> None:
        """Close idle connections; calls under way end by themselves and are heard by nobody."""
        busy = self._threads.close()
        for thread in busy:
            thread.join(0.2)
        self._reads.close()
        with self._lock:
            if self._clients is not None:
                self._clients.close()

    def _boto(self) -> S3Clients:
        with self._lock:
            if self._clients is None:
                from spotguard.adapters.s3.clients import S3Clients

                self._clients = S3Clients(self.settings, self.identity, self.clock, self._stall_seconds)
            return self._clients

    def _read_quickly(self, operation: str, subject: Subject, parameters: Mapping[str, Any], max_body: int) -> Any:
        """The answer without boto3; None where boto3 had better be asked. In a thread."""
        if (route := self._plain_route()) is None:
            return None
        return self._reads.answer(self._take_route(route), operation, {"Bucket": self.settings.bucket, **parameters}, subject, max_body)

    def _plain_route(self) -> Route | None:
        """Where S3 is, if that can be told without boto3."""
        generation = self.identity.generation
        if self._plain is None or self._plain[0] != generation:
            self._plain = generation, plain_route(self.identity.surroundings(), self.settings, generation)
        return self._plain[1]

    def _take_route(self, route: Route) -> Route:
        """The first one that was found stays, so that connections do."""
        if self._route is None or self._route.generation != route.generation:
            self._route = route
        return self._route
