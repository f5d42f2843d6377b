"""IMDSv2 as it is spoken: tokens, errors and their fixes, and what may fail without being missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from spotguard.adapters.instance import imds_session
from spotguard.adapters.instance.imds import MAINTENANCE, REBALANCE, SPOT, TARGET_STATE, Imds
from spotguard.core.notice import Instance, NoticeKind
from spotguard.demo.metadata_service import FakeMetadataService
from spotguard.ports.metadata_service import MetadataUnavailable

Connect = Callable[..., Imds]


async def test_one_token_and_kept_connections_serve_many_polls(service: FakeMetadataService, connect: Connect) -> None:
    imds = connect(service.url)
    for _ in range(10):
        await imds.poll()
    assert service.requests["PUT api/token"] == 1
    assert [service.requests[f"GET {path}"] for path in (SPOT, REBALANCE, MAINTENANCE, TARGET_STATE)] == [10] * 4
    assert service.refusals.keys() <= {404}, "no request without a token, none refused"
    assert service.connections <= 4


async def test_a_token_that_is_refused_is_replaced_within_the_poll(service: FakeMetadataService, connect: Connect) -> None:
    imds = connect(service.url)
    service.facts.notice("terminate", seconds=120)
    await imds.poll()
    service.expire_tokens()
    assert [notice.kind for notice in (await imds.poll()).notices] == [NoticeKind.TERMINATE]
    assert service.requests["PUT api/token"] == 2
    assert service.refusals[401] >= 1


async def test_a_token_is_renewed_before_it_ends(faithful: FakeMetadataService, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imds_session, "TOKEN_SECONDS", 1)
    imds = connect(faithful.url)
    await imds.poll()
    await asyncio.sleep(0.6)  # past half of its life: the real clock is what is tested
    await imds.poll()
    assert faithful.requests["PUT api/token"] == 2
    assert faithful.refusals[401] == 0


async def test_a_renewal_that_fails_uses_the_old_token_while_it_lives(
    faithful: FakeMetadataService, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imds_session, "TOKEN_SECONDS", 2)
    imds = connect(faithful.url)
    await imds.poll()
    await asyncio.sleep(1.1)
    faithful.behaviour.fail_paths = {"api/token": 503}
    assert (await imds.poll()).notices == ()


async def test_a_service_that_refuses_every_token_is_unavailable_and_not_asked_without_end(
    faithful: FakeMetadataService, connect: Connect
) -> None:
    faithful.behaviour.token_seconds = 0
    with pytest.raises(MetadataUnavailable, match="401"):
        await connect(faithful.url).poll()
    assert faithful.requests[f"GET {SPOT}"] == 2


async def test_a_token_that_never_arrives_names_the_hop_limit_and_the_command(faithful: FakeMetadataService, connect: Connect) -> None:
    faithful.behaviour.hang_token = True
    with pytest.raises(MetadataUnavailable, match="hop limit") as caught:
        await connect(faithful.url, answer_seconds=0.2).poll()
    assert "aws ec2 modify-instance-metadata-options --instance-id" in caught.value.fix
    assert "--http-put-response-hop-limit 2" in caught.value.fix


async def test_the_command_names_the_instance_once_it_is_known(faithful: FakeMetadataService, connect: Connect) -> None:
    imds = connect(faithful.url, answer_seconds=0.2)
    await imds.identity()
    faithful.expire_tokens()
    faithful.behaviour.hang_token = True
    with pytest.raises(MetadataUnavailable) as caught:
        await imds.poll()
    assert "--instance-id i-0123456789abcdef0 " in caught.value.fix


async def test_a_service_that_is_switched_off_says_how_to_switch_it_on(service: FakeMetadataService, connect: Connect) -> None:
    service.behaviour.disabled = True
    with pytest.raises(MetadataUnavailable, match="403") as caught:
        await connect(service.url).poll()
    assert "--http-endpoint enabled" in caught.value.fix


@pytest.mark.parametrize(("status", "word"), [(503, "throttles"), (429, "throttles"), (500, "failed"), (418, "418"), (302, "302")])
async def test_every_other_refusal_is_unavailable(faithful: FakeMetadataService, connect: Connect, status: int, word: str) -> None:
    imds = connect(faithful.url)
    faithful.behaviour.fail_paths = {SPOT: status}
    with pytest.raises(MetadataUnavailable, match=word):
        await imds.poll()
    faithful.behaviour.fail_paths = {}
    assert (await imds.poll()).notices == ()


async def test_a_port_where_nobody_listens_names_the_endpoint(faithful: FakeMetadataService, connect: Connect) -> None:
    imds = connect(faithful.url)
    await imds.poll()
    await faithful.stop()
    with pytest.raises(MetadataUnavailable) as caught:
        await imds.poll()
    assert "imds.endpoint" in caught.value.fix
    await faithful.start()
    assert (await imds.poll()).notices == ()


@pytest.mark.parametrize("knob", ["drop", "hang"])
async def test_a_cut_or_silent_connection_is_unavailable_in_time(faithful: FakeMetadataService, connect: Connect, knob: str) -> None:
    imds = connect(faithful.url, answer_seconds=0.3)
    await imds.poll()
    faithful.change({"behaviour": {"drop": True} if knob == "drop" else {"hang_paths": ["*"]}})
    began = time.monotonic()
    with pytest.raises(MetadataUnavailable):
        await imds.poll()
    assert time.monotonic() - began < 2
    faithful.change({"behaviour": {"drop": False, "hang_paths": []}})
    assert (await imds.poll()).notices == ()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "not a url", "http://", "ftp://127.0.0.1:1"])
async def test_a_wrong_endpoint_is_unavailable_never_a_crash(connect: Connect, endpoint: str) -> None:
    with pytest.raises(MetadataUnavailable) as caught:
        await connect(endpoint).poll()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["<html>ok</html>", "", "{", "[]", '{"time": "2026-11-23T08:22:00Z"}'])
async def test_nonsense_instead_of_a_notice_is_unavailable(faithful: FakeMetadataService, connect: Connect, body: str) -> None:
    faithful.facts.instance_action = body
    with pytest.raises(MetadataUnavailable):
        await connect(faithful.url).poll()


async def test_an_endless_body_is_cut(faithful: FakeMetadataService, connect: Connect) -> None:
    faithful.facts.instance_action = "x" * (2 << 20)
    imds = connect(faithful.url)
    with pytest.raises(MetadataUnavailable):
        await imds.poll()
    faithful.facts.instance_action = None
    assert (await imds.poll()).notices == ()


@pytest.mark.parametrize(
    ("path", "kind"), [(REBALANCE, NoticeKind.REBALANCE), (MAINTENANCE, NoticeKind.MAINTENANCE), (TARGET_STATE, NoticeKind.SCALE_IN)]
)
@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_another_source_that_fails_blinds_nobody_and_is_told(
    faithful: FakeMetadataService, connect: Connect, path: str, kind: NoticeKind, fault: str
) -> None:
    faithful.change({"behaviour": {"fail_paths": {path: 500}} if fault == "fails" else {"hang_paths": [path]}})
    sighting = await connect(faithful.url, answer_seconds=0.3).poll()
    assert (sighting.notices, sighting.silent) == ((), frozenset({kind}))


async def test_malformed_other_documents_blind_nobody(faithful: FakeMetadataService, connect: Connect) -> None:
    faithful.change({"facts": {"rebalance": "<html>", "maintenance": "{"}})
    sighting = await connect(faithful.url).poll()
    assert sighting.silent == {NoticeKind.REBALANCE, NoticeKind.MAINTENANCE}


async def test_a_spot_notice_does_not_wait_for_sources_that_hang(faithful: FakeMetadataService, connect: Connect) -> None:
    imds = connect(faithful.url, answer_seconds=5)
    await imds.poll()
    faithful.facts.notice("terminate", seconds=120)
    faithful.behaviour.hang_paths = [REBALANCE, MAINTENANCE, TARGET_STATE]
    began = time.monotonic()
    sighting = await imds.poll()
    assert time.monotonic() - began < 1
    assert [notice.kind for notice in sighting.notices] == [NoticeKind.TERMINATE]
    assert sighting.silent == {NoticeKind.REBALANCE, NoticeKind.MAINTENANCE, NoticeKind.SCALE_IN}


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
async def test_the_services_clock_is_taken_from_the_answer(faithful: FakeMetadataService, connect: Connect, skew: float) -> None:
    faithful.behaviour.clock_skew_seconds = skew
    faithful.facts.notice("terminate", seconds=120, now=faithful.now())
    (notice,) = (await connect(faithful.url).poll()).notices
    assert notice.at is not None
    assert notice.at - notice.seen_date == pytest.approx(120, abs=1.5)
    assert notice.seen_date == pytest.approx(datetime.now(UTC).timestamp() + skew, abs=2)


async def test_a_proxy_in_the_environment_is_bypassed(
    faithful: FakeMetadataService, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await connect(faithful.url).poll()).notices == ()


async def test_what_the_service_does_not_say_of_the_machine_is_none(faithful: FakeMetadataService, connect: Connect) -> None:
    faithful.facts.hidden = ["meta-data/instance-life-cycle"]
    faithful.facts.instance_type = "<html>"
    faithful.behaviour.fail_paths = {"meta-data/placement/region": 500}
    assert await connect(faithful.url).identity() == Instance("i-0123456789abcdef0", None, "us-east-1a", None, None)


async def test_who_we_are_is_asked_in_the_time_of_one_answer(faithful: FakeMetadataService, connect: Connect) -> None:
    faithful.behaviour.hang_token = True
    began = time.monotonic()
    with pytest.raises(MetadataUnavailable):
        await connect(faithful.url, answer_seconds=0.3).identity()
    assert time.monotonic() - began < 1.2
