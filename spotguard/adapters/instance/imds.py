"""The instance metadata service as a source of notices: which documents are read, and what may fail without being missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from spotguard.adapters.instance.imds_session import Answer, ImdsSession
from spotguard.core.notice import Instance, Notice, NoticeKind, Sighting
from spotguard.core.notice_parsing import (
    NoticeUnreadable,
    parse_instance_action,
    parse_maintenance,
    parse_rebalance,
    parse_target_state,
)
from spotguard.ports.metadata_service import MetadataUnavailable

log = structlog.get_logger()

SPOT = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"
MAINTENANCE = "meta-data/events/maintenance/scheduled"
TARGET_STATE = "meta-data/autoscaling/target-lifecycle-state"

_OTHERS_GRACE_SECONDS = 0.01
"""How long the other sources may hold up a spot notice that is already here."""

Parse = Callable[[bytes, float], tuple[Notice, ...]]

_OTHERS: dict[str, tuple[NoticeKind, Parse]] = {
    REBALANCE: (NoticeKind.REBALANCE, lambda body, date: (parse_rebalance(body, date),)),
    MAINTENANCE: (NoticeKind.MAINTENANCE, parse_maintenance),
    TARGET_STATE: (NoticeKind.SCALE_IN, lambda body, date: tuple(n for n in (parse_target_state(body, date),) if n)),
}

_IDENTITY = {
    "id": "meta-data/instance-id",
    "type": "meta-data/instance-type",
    "zone": "meta-data/placement/availability-zone",
    "lifecycle": "meta-data/instance-life-cycle",
    "region": "meta-data/placement/region",
}


def _local_wall() -> datetime:
    return datetime.now(UTC)


class Imds:
    """IMDSv2 over aiohttp; implements `ports.metadata_service.MetadataService`. Close it in the loop that used it.

    `wall` stands in for the `Date` of an answer that has none."""

    def __init__(
        self,
        endpoint: str = "http://169.254.169.254",
        *,
        connect_seconds: float = 1.0,
        answer_seconds: float = 2.0,
        wall: Callable[[], datetime] = _local_wall,
    ) -> None:
        self._session = ImdsSession(endpoint, connect_seconds=connect_seconds, answer_seconds=answer_seconds)
        self._wall = wall
        self._failing: set[str] = set()

    async def __aenter__(self) -> Imds:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def poll(self) -> Sighting:
        """See the port. Four GETs at once over connections that are kept; a spot notice waits for none of the others."""
        others = {path: asyncio.create_task(self._notices(path, *source)) for path, source in _OTHERS.items()}
        try:
            spot = await self._spot()
            await asyncio.wait(others.values(), timeout=_OTHERS_GRACE_SECONDS if spot else None)
            found, silent = list(spot), set[NoticeKind]()
            for path, task in others.items():
                told = task.result() if task.done() else None
                if told is None:
                    silent.add(_OTHERS[path][0])
                found += told or ()
            return Sighting(tuple(found), frozenset(silent))
        finally:
            for task in others.values():
                task.cancel()
            await asyncio.gather(*others.values(), return_exceptions=True)

    async def identity(self) -> Instance:
        """See the port. What the service does not say, or fails to say, is None; raises only if it says nothing at all."""
        await self._session.open()  # so that one failure is not waited for five times
        told = await asyncio.gather(*(self._text(path) for path in _IDENTITY.values()))
        failures = [text for text in told if isinstance(text, MetadataUnavailable)]
        if len(failures) == len(told):
            raise failures[0]
        said = {name: text if isinstance(text, str) else None for name, text in zip(_IDENTITY, told, strict=True)}
        if said["id"]:
            self._session.instance = said["id"]
        return Instance(**said)

    async def _spot(self) -> tuple[Notice, ...]:
        answer = await self._session.get(SPOT)
        if answer.body is None:
            return ()
        try:
            return (parse_instance_action(answer.body, self._date(answer)),)
        except NoticeUnreadable as error:
            raise MetadataUnavailable(f"{SPOT} {error}", "check that imds.endpoint is the metadata service") from error

    async def _notices(self, path: str, _kind: NoticeKind, parse: Parse) -> tuple[Notice, ...] | None:
        """The notices of one of the other sources; None, logged once until it answers again, when it gives no usable answer."""
        try:
            answer = await self._session.get(path)
            found = parse(answer.body, self._date(answer)) if answer.body is not None else ()
        except (MetadataUnavailable, NoticeUnreadable) as error:
            if path not in self._failing:
                log.info("metadata_source.missed", path=path, error=str(error))
                self._failing.add(path)
            return None
        self._failing.discard(path)
        return found

    async def _text(self, path: str) -> str | MetadataUnavailable | None:
        try:
            answer = await self._session.get(path)
        except MetadataUnavailable as error:
            return error
        text = (answer.body or b"").decode("utf-8", "replace").strip()
        return text if text and text.isprintable() and "<" not in text and len(text) <= 200 else None

    def _date(self, answer: Answer) -> float:
        return self._wall().timestamp() if answer.date is None else answer.date
