"""What every metadata service must do, asked of the HTTP adapter (before a faithful and a mock-like service) and of the fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from spotguard.adapters.instance.imds import Imds
from spotguard.core.notice import Instance, NoticeKind
from spotguard.demo.metadata_facts import Behaviour
from spotguard.demo.metadata_service import FakeMetadataService
from spotguard.ports.metadata_service import MetadataService, MetadataUnavailable
from tests.support.memory_metadata import MemoryMetadataService


class Stage(Protocol):
    port: MetadataService

    def give(self, kind: NoticeKind, seconds: float | None) -> None: ...
    def withdraw(self, kind: NoticeKind) -> None: ...
    def break_down(self) -> None: ...
    def mend(self) -> None: ...


class HttpStage:
    def __init__(self, service: FakeMetadataService, port: MetadataService) -> None:
        self.service, self.port = service, port

    def give(self, kind: NoticeKind, seconds: float | None) -> None:
        facts, now = self.service.facts, self.service.now()
        if kind is NoticeKind.SCALE_IN:
            facts.target_state = "Terminated"
        elif kind is NoticeKind.REBALANCE:
            facts.rebalance = {"noticeTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        elif kind is NoticeKind.MAINTENANCE:
            moment = datetime.fromtimestamp(now.timestamp() + (seconds or 0), UTC)
            facts.maintenance = [{"NotBefore": moment.strftime("%-d %b %Y %H:%M:%S GMT"), "Code": "system-reboot", "State": "active"}]
        else:
            facts.notice(kind.value, seconds=seconds or 0, now=now)

    def withdraw(self, kind: NoticeKind) -> None:
        empty: dict[NoticeKind, dict[str, Any]] = {
            NoticeKind.SCALE_IN: {"target_state": "InService"},
            NoticeKind.REBALANCE: {"rebalance": None},
            NoticeKind.MAINTENANCE: {"maintenance": []},
        }
        self.service.change({"facts": empty.get(kind, {"instance_action": None})})

    def break_down(self) -> None:
        self.service.behaviour.fail_paths = {"meta-data/spot/instance-action": 500}

    def mend(self) -> None:
        self.service.behaviour.fail_paths = {}


class MemoryStage:
    def __init__(self) -> None:
        self.port = MemoryMetadataService(lambda: datetime.now(UTC))

    def give(self, kind: NoticeKind, seconds: float | None) -> None:
        self.port.give(kind, seconds=seconds)

    def withdraw(self, kind: NoticeKind) -> None:
        self.port.withdraw(kind)

    def break_down(self) -> None:
        self.port.unavailable = MetadataUnavailable("no answer")

    def mend(self) -> None:
        self.port.unavailable = None


@pytest.fixture(params=["memory", "faithful", "mock-like"])
async def stage(request: pytest.FixtureRequest, connect: Callable[..., Imds]) -> AsyncIterator[Stage]:
    if request.param == "memory":
        yield MemoryStage()
        return
    async with FakeMetadataService(behaviour=Behaviour(mock_like=request.param == "mock-like", sliding_time=False)) as service:
        yield HttpStage(service, connect(service.url))


async def test_nothing_announced_is_an_empty_sighting(stage: Stage) -> None:
    sighting = await stage.port.poll()
    assert (sighting.notices, sighting.silent) == ((), frozenset())


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        (NoticeKind.TERMINATE, 120),
        (NoticeKind.STOP, 120),
        (NoticeKind.HIBERNATE, 0),
        (NoticeKind.TERMINATE, -30),
        (NoticeKind.MAINTENANCE, 3600),
        (NoticeKind.SCALE_IN, None),
        (NoticeKind.REBALANCE, 0),
    ],
)
async def test_a_notice_is_sighted_with_its_time_and_the_services_clock(stage: Stage, kind: NoticeKind, seconds: float | None) -> None:
    stage.give(kind, seconds)
    (notice,) = (await stage.port.poll()).notices
    assert notice.kind is kind
    assert abs(notice.seen_date - datetime.now(UTC).timestamp()) < 2
    if seconds is None:
        assert notice.at is None
    else:
        assert notice.at == pytest.approx(notice.seen_date + seconds, abs=2)


async def test_a_notice_has_the_same_reference_at_every_poll(stage: Stage) -> None:
    stage.give(NoticeKind.TERMINATE, 120)
    first, second = await stage.port.poll(), await stage.port.poll()
    assert [notice.reference for notice in first.notices] == [notice.reference for notice in second.notices]


async def test_notices_of_all_sources_are_sighted_together(stage: Stage) -> None:
    for kind, seconds in ((NoticeKind.REBALANCE, 0), (NoticeKind.MAINTENANCE, 600), (NoticeKind.SCALE_IN, None)):
        stage.give(kind, seconds)
    assert {n.kind for n in (await stage.port.poll()).notices} == {NoticeKind.REBALANCE, NoticeKind.MAINTENANCE, NoticeKind.SCALE_IN}


@pytest.mark.parametrize("kind", list(NoticeKind))
async def test_a_notice_that_is_taken_back_is_not_sighted_any_more(stage: Stage, kind: NoticeKind) -> None:
    stage.give(kind, None if kind is NoticeKind.SCALE_IN else 60)
    assert (await stage.port.poll()).notices
    stage.withdraw(kind)
    assert not (await stage.port.poll()).notices


async def test_no_answer_is_an_error_never_nothing_and_the_next_poll_asks_anew(stage: Stage) -> None:
    stage.break_down()
    with pytest.raises(MetadataUnavailable):
        await stage.port.poll()
    stage.mend()
    assert (await stage.port.poll()).notices == ()


async def test_it_says_which_machine_this_is(stage: Stage) -> None:
    assert await stage.port.identity() == Instance("i-0123456789abcdef0", "g5.xlarge", "us-east-1a", "spot", "us-east-1")


async def test_polls_at_the_same_time_do_not_disturb_each_other(stage: Stage) -> None:
    stage.give(NoticeKind.TERMINATE, 120)
    sightings = await asyncio.gather(*(stage.port.poll() for _ in range(4)))
    assert all(NoticeKind.TERMINATE in {notice.kind for notice in sighting.notices} for sighting in sightings)


async def test_a_poll_that_is_cancelled_leaves_the_next_one_whole(stage: Stage) -> None:
    poll = asyncio.ensure_future(stage.port.poll())
    await asyncio.sleep(0)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    stage.give(NoticeKind.STOP, 60)
    assert NoticeKind.STOP in {notice.kind for notice in (await stage.port.poll()).notices}
