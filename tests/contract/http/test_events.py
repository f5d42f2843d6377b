"""The stream of events and the page for people."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

import spotguard
from spotguard.core.status import DaemonState
from tests.contract.http.fake_control import INTERRUPTION, FakeControl


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    async with asyncio.timeout(10):
        kind = (await response.content.readline()).decode().removeprefix("event: ").strip()
        told = json.loads((await response.content.readline()).removeprefix(b"data: "))
        assert await response.content.readline() == b"\n"
    return kind, told


async def until(response: aiohttp.ClientResponse, wanted: str) -> Any:
    while True:
        kind, told = await next_event(response)
        if kind == wanted:
            return told


async def test_a_stream_begins_with_all_that_there_is_to_know(local: aiohttp.ClientSession) -> None:
    async with local.get("/status") as answer:
        status = await answer.json()
    async with local.get("/events") as response:
        assert response.content_type == "text/event-stream"
        assert [kind for kind, _ in [await next_event(response), await next_event(response)]] == ["clock", "headline"]
        assert await next_event(response) == ("status", status)


async def test_a_change_is_told_and_nothing_else(local: aiohttp.ClientSession, control: FakeControl) -> None:
    async with local.get("/events") as response:
        assert (await until(response, "status"))["interruption"] is None
        control.current = replace(control.current, state=DaemonState.DRAINING)
        control.notice.publish(INTERRUPTION)
        assert (await next_event(response))[1]["word"] == "DRAINING"
        assert (await next_event(response))[1]["interruption"]["kind"] == "terminate"


async def test_a_stream_that_nobody_reads_any_more_makes_room_for_another(local: aiohttp.ClientSession) -> None:
    open_streams = [await local.get("/events") for _ in range(16)]
    async with local.get("/events") as refused:
        assert refused.status == 503
    for stream in open_streams:
        stream.close()
    async with asyncio.timeout(20):
        while (again := await local.get("/events")).status != 200:  # noqa: ASYNC110 - nothing tells when the server has noticed
            await asyncio.sleep(0.2)
    again.close()


async def test_a_status_that_can_not_be_told_is_an_error_and_no_stream(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.broken = True
    async with local.get("/events") as response:
        assert response.status == 500


async def test_a_head_request_gets_no_stream(local: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(5), local.head("/events") as response:
        assert response.status == 200
        assert await response.read() == b""


async def test_with_a_token_the_page_and_the_events_need_it_too(guarded: aiohttp.ClientSession) -> None:
    for path in ("/", "/page.js", "/page.css", "/events"):
        async with guarded.get(path) as response:
            assert response.status == 401


async def test_the_page_loads_nothing_from_elsewhere_and_lets_nothing_in(local: aiohttp.ClientSession) -> None:
    wanted = []
    for path in ("/", "/page.css", "/page.js"):
        async with local.get(path) as response:
            assert response.status == 200
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            text = await response.text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
        wanted += re.findall(r'(?:src|href)="(/page[^"]*)"', text)
        assert "<style" not in text
        assert " style=" not in text
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert sorted(wanted) == ["/page.css", "/page.js", "/page.svg"]


def test_the_page_is_part_of_the_package() -> None:
    assert (Path(spotguard.__file__).parent / "adapters/http/page/index.html").is_file()
