"""The fake metadata service is as strict as the real one, so that what works with it works there."""

from __future__ import annotations

import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import aiohttp
import pytest

from spotguard.demo.metadata_service import FakeMetadataService

TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def token_of(service: FakeMetadataService, http: aiohttp.ClientSession) -> str:
    async with http.put(f"{service.url}/latest/api/token", headers={TTL: "60"}) as answer:
        assert (answer.status, answer.headers[TTL], answer.content_type) == (200, "60", "text/plain")
        return await answer.text()


@pytest.mark.parametrize("ttl", [None, "0", "21601", "-1", "x", ""])
async def test_a_token_needs_a_sane_lifetime(service: FakeMetadataService, http: aiohttp.ClientSession, ttl: str | None) -> None:
    async with http.put(f"{service.url}/latest/api/token", headers={} if ttl is None else {TTL: ttl}) as answer:
        assert answer.status == 400


async def test_tokens_are_given_only_at_their_place_and_not_through_proxies(
    faithful: FakeMetadataService, http: aiohttp.ClientSession
) -> None:
    async with http.put(f"{faithful.url}/2021-03-23/api/token", headers={TTL: "60"}) as answer:
        assert answer.status == 403
    async with http.put(f"{faithful.url}/latest/api/token", headers={TTL: "60", "X-Forwarded-For": "10.0.0.1"}) as answer:
        assert answer.status == 403


async def test_nothing_is_told_without_a_token_and_only_get_and_head_are_known(
    faithful: FakeMetadataService, http: aiohttp.ClientSession
) -> None:
    url, token = f"{faithful.url}/latest/meta-data/instance-id", await token_of(faithful, http)
    for sent, method, status in (("", "GET", 401), ("x", "GET", 401), (token, "POST", 405), (token, "HEAD", 200)):
        async with http.request(method, url, headers={TOKEN: sent} if sent else {}) as answer:
            assert answer.status == status


async def test_documents_are_compact_plain_text_with_the_tokens_time_left(
    faithful: FakeMetadataService, http: aiohttp.ClientSession
) -> None:
    at = faithful.facts.notice("terminate", seconds=120)
    headers = {TOKEN: await token_of(faithful, http)}
    for _ in range(2):
        async with http.get(f"{faithful.url}/latest/meta-data/spot/instance-action", headers=headers) as answer:
            assert await answer.text() == f'{{"action":"terminate","time":"{at}"}}'
            assert answer.content_type == "text/plain"
            assert 0 < int(answer.headers[TTL]) <= 60
    async with http.get(f"{faithful.url}/latest/meta-data/spot/", headers=headers) as answer:
        assert (await answer.text()).split() == ["instance-action", "termination-time"]


async def test_credentials_rotate_and_may_be_refused_with_200(faithful: FakeMetadataService, http: aiohttp.ClientSession) -> None:
    headers, base = {TOKEN: await token_of(faithful, http)}, f"{faithful.url}/latest/meta-data/iam/security-credentials/"
    async with http.get(base, headers=headers) as answer:
        role = await answer.text()
    keys = []
    for generation in (1, 2):
        faithful.facts.credentials_generation = generation
        async with http.get(base + role, headers=headers) as answer:
            keys.append((await answer.json(content_type=None))["AccessKeyId"])
    assert keys[0] != keys[1]
    faithful.facts.credentials_code = "AssumeRoleUnauthorizedAccess"
    async with http.get(base + role, headers=headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["Code"]) == (200, "AssumeRoleUnauthorizedAccess")


async def test_a_burst_of_failures_ends(faithful: FakeMetadataService, http: aiohttp.ClientSession) -> None:
    faithful.behaviour.fail_next = 2
    statuses = []
    for _ in range(3):
        async with http.put(f"{faithful.url}/latest/api/token", headers={TTL: "60"}) as answer:
            statuses.append(answer.status)
    assert statuses == [503, 503, 200]


async def test_another_process_can_run_it_and_control_it(http: aiohttp.ClientSession) -> None:
    process = await create_subprocess_exec(sys.executable, "-m", "spotguard.demo.metadata_service", "--port", "0", stdout=PIPE)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().split()[-1]
        wanted = {"notice": {"action": "stop", "seconds": 30}, "behaviour": {"delay_seconds": 0.01}, "facts": {"zone": "z"}}
        async with http.post(f"{url}/_control", json=wanted) as answer:
            state = await answer.json()
        assert state["facts"]["instance_action"]["action"] == "stop"
        assert state["facts"]["zone"] == "z"
        async with http.post(f"{url}/_control", json={"facts": {"nonsense": 1}}) as answer:
            assert answer.status == 400
        async with http.delete(f"{url}/_control") as answer:
            assert (await answer.json())["facts"]["instance_action"] is None
    finally:
        process.terminate()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
