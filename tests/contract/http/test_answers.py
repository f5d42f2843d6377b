"""What each path answers: the shapes of docs/http.md, written out."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import aiohttp
import pytest
from yarl import URL

from spotguard.core.rehearsal import Asks, Rehearsed, conclude
from spotguard.core.status import DaemonState
from tests.contract.http.fake_control import INTERRUPTION, NOON, FakeControl

POST = {"X-Spotguard": "1"}


async def test_status_has_every_key_of_the_contract_and_no_unknown_one(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.notice.publish(INTERRUPTION)
    async with local.get("/status") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        body = await response.json()
    assert set(body) == {
        "version", "state", "since", "instance", "interruption", "trainer", "checkpoints", "backlog", "exposure", "upload", "imds",
        "store", "problems", "run", "watch_dir", "claim",
    }  # fmt: skip
    assert set(body["instance"]) == {"id", "type", "zone", "lifecycle"}
    assert set(body["interruption"]) == {"kind", "drill", "time", "detected_at", "deadline", "verdict", "last_committed", "given_up"}
    assert set(body["interruption"]["given_up"][0]) == {"name", "why"}
    assert set(body["trainer"]) == {"found", "pids", "signalled_at", "configured", "signal"}
    assert set(body["checkpoints"][0]) == {
        "name", "stage", "step", "state", "files", "bytes", "uploaded_bytes", "generation", "saved_at", "committed_at", "why",
    }  # fmt: skip
    assert set(body["backlog"]) == {"checkpoints", "bytes", "eta_seconds"}
    assert set(body["exposure"]) == {
        "seconds_since_last_commit", "steps_at_risk_estimate", "save_seconds_estimate", "flush_seconds_estimate", "fits_in_notice",
        "longest_fitting_bytes",
    }  # fmt: skip
    assert set(body["upload"]) == {"bytes_per_second", "bytes_total", "retries_total"}
    assert set(body["imds"]) == {"mode", "reachable", "last_poll", "error"}
    assert set(body["store"]) == {"reachable", "error"}
    assert set(body["problems"][0]) == {"code", "severity", "since", "message", "fix"}


async def test_status_writes_times_as_utc_and_kinds_as_the_contract_names_them(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.notice.publish(INTERRUPTION)
    async with local.get("/status") as response:
        body = await response.json()
    assert body["since"] == "2026-11-23T20:00:00Z"
    assert (body["state"], body["interruption"]["kind"], body["problems"][0]["code"]) == ("watching", "terminate", "imds-blind")
    assert body["checkpoints"][0]["state"] == "committed"
    assert body["trainer"]["pids"] == [41, 42]


async def test_healthz_tells_whose_daemon_it_is(local: aiohttp.ClientSession) -> None:
    async with local.get("/healthz") as response:
        assert await response.json() == {"alive": True, "version": "0.1.0", "run": "s3://b/run1", "watch_dir": "/data/out"}


async def test_readyz_is_503_with_the_reasons_until_there_are_none(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.reasons = ("the store can not be reached", "not watching yet")
    async with local.get("/readyz") as response:
        assert response.status == 503
        body = await response.json()
    assert body["reasons"] == ["the store can not be reached", "not watching yet"]
    assert body["error"]
    control.reasons = ()
    async with local.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"ready": True, "reasons": []})


async def test_checkpoints_are_those_of_the_status(local: aiohttp.ClientSession) -> None:
    async with local.get("/status") as status, local.get("/checkpoints") as checkpoints:
        assert await checkpoints.json() == (await status.json())["checkpoints"]


async def test_no_interruption_is_404_with_a_reason(local: aiohttp.ClientSession) -> None:
    async with local.get("/interruption") as response:
        assert (response.status, await response.json()) == (404, {"error": "no interruption is pending"})


async def test_a_long_poll_ends_as_soon_as_the_notice_comes(local: aiohttp.ClientSession, control: FakeControl) -> None:
    loop = asyncio.get_running_loop()
    waiting = [asyncio.create_task(local.get("/interruption?wait=60")) for _ in range(50)]
    async with asyncio.timeout(10):
        await control.polls.until(lambda polls: polls == 50)
    seen = loop.time()
    control.notice.publish(INTERRUPTION)
    for response in await asyncio.gather(*waiting):
        assert response.status == 200
        assert (await response.json())["kind"] == "terminate"
    assert loop.time() - seen < 5  # far from 60; what it really takes is a matter of the machine


async def test_a_long_poll_is_404_when_its_time_is_over(local: aiohttp.ClientSession) -> None:
    async with local.get("/interruption?wait=0.05") as response:
        assert response.status == 404


async def test_a_wait_is_capped(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.notice.publish(INTERRUPTION)
    for wait in ("86400", "inf"):
        async with local.get("/interruption", params={"wait": wait}) as response:
            assert response.status == 200
    assert control.interruption_waits == [300.0, 300.0]


@pytest.mark.parametrize("wait", ["soon", "-1", "nan", ""])
async def test_a_wait_that_is_no_number_is_refused(local: aiohttp.ClientSession, wait: str) -> None:
    async with local.get("/interruption", params={"wait": wait}) as response:
        assert response.status == 400
        assert "wait" in (await response.json())["error"]


async def test_flush_says_what_was_committed_and_what_not(local: aiohttp.ClientSession, control: FakeControl) -> None:
    async with local.post("/flush?wait=2.5", headers=POST) as response:
        assert await response.json() == {
            "committed": ["sft/checkpoint-100"],
            "unfinished": [{"name": "sft/checkpoint-110", "why": "no trainer_state.json yet"}],
        }
    assert control.flush_waits == [2.5]


@pytest.mark.parametrize("path", ["sft/checkpoint-100", "sft%2Fcheckpoint-100", "sft%2fcheckpoint-100"])
async def test_a_checkpoint_is_declared_with_raw_or_escaped_slashes(local: aiohttp.ClientSession, control: FakeControl, path: str) -> None:
    async with local.post(URL(f"/checkpoints/{path}/complete", encoded=True), headers=POST) as response:
        assert await response.json() == {"name": "sft/checkpoint-100", "declared": True}
    assert control.declared == ["sft/checkpoint-100"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("complete", "complete"),
        ("a/complete", "a/complete"),
        ("50%2525%20%C3%BC", "50%25 ü"),
        ("a+b", "a+b"),
        ("a%3Fb", "a?b"),
    ],
)
async def test_odd_names_are_decoded_once(local: aiohttp.ClientSession, control: FakeControl, path: str, name: str) -> None:
    control.known = {name}
    async with local.post(URL(f"/checkpoints/{path}/complete", encoded=True), headers=POST) as response:
        assert response.status == 200
    assert control.declared == [name]


async def test_an_unknown_checkpoint_is_404_and_named(local: aiohttp.ClientSession) -> None:
    async with local.post("/checkpoints/sft/checkpoint-7/complete", headers=POST) as response:
        assert response.status == 404
        assert "sft/checkpoint-7" in (await response.json())["error"]


async def test_a_name_that_is_not_utf8_is_400(local: aiohttp.ClientSession) -> None:
    async with local.post(URL("/checkpoints/%FF/complete", encoded=True), headers=POST) as response:
        assert response.status == 400
        assert "UTF-8" in (await response.json())["error"]


async def test_a_drill_starts_or_says_why_not(local: aiohttp.ClientSession, control: FakeControl) -> None:
    async with local.post("/drill?seconds=30", headers=POST) as response:
        assert (response.status, await response.json()) == (202, {"started": True, "seconds": 30.0})
    control.drill_refusal = "a real notice is pending"
    async with local.post("/drill", headers=POST) as response:
        assert (response.status, await response.json()) == (409, {"error": "a real notice is pending"})
    control.drill_refusal = None
    async with local.post("/drill?asks=stop&hooks=1", headers=POST) as response:
        assert response.status == 202
    async with local.post("/drill?asks=everything", headers=POST) as response:
        assert (response.status, await response.json()) == (400, {"error": "asks='everything' is none of nothing, save, stop"})
    assert control.drills == [(30.0, None, False), (120.0, Asks.STOP, True)]


async def test_what_a_drill_came_to_is_404_until_one_has_ended(local: aiohttp.ClientSession, control: FakeControl) -> None:
    async with local.get("/drill") as response:
        assert (response.status, await response.json()) == (404, {"error": "no drill has ended yet"})
    control.drilled = conclude(Rehearsed(Asks.SAVE, 115.0, "SIGUSR2", 0.04, 31.0, 58.0, "checkpoint-5", safe=True))
    async with local.get("/drill?wait=5") as response:
        assert response.status == 200
        told = await response.json()
    assert (told["passed"], told["steps_lost"], told["asked"], told["spare_seconds"]) == (True, 0.0, "save", 57.0)


async def test_an_unknown_path_is_404_in_json(local: aiohttp.ClientSession) -> None:
    async with local.get("/nothing") as response:
        assert (response.status, await response.json()) == (404, {"error": "there is nothing at /nothing"})


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/flush"), ("POST", "/status"), ("DELETE", "/checkpoints"), ("OPTIONS", "/flush"), ("PUT", "/drill")]
)
async def test_a_wrong_method_is_405_in_json_and_names_the_right_one(local: aiohttp.ClientSession, method: str, path: str) -> None:
    async with local.request(method, path, headers=POST) as response:
        assert response.status == 405
        assert response.headers["Allow"]
        assert set(await response.json()) == {"error"}


@pytest.mark.parametrize("path", ["/status", "/healthz", "/readyz", "/metrics", "/checkpoints", "/openapi.json"])
async def test_head_answers_like_get_without_a_body(local: aiohttp.ClientSession, path: str) -> None:
    async with local.get(path) as whole, local.head(path) as head:
        assert head.status == whole.status == 200
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
        assert await head.read() == b""


async def test_a_failure_inside_is_500_in_json_and_the_next_call_works(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.broken = True
    async with local.get("/status") as response:
        assert (response.status, set(await response.json())) == (500, {"error"})
    control.broken = False
    async with local.get("/status") as response:
        assert response.status == 200


async def test_answers_are_not_cached_or_sniffed(local: aiohttp.ClientSession) -> None:
    async with local.get("/status") as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_openapi_description_covers_every_path_and_resolves_every_reference(local: aiohttp.ClientSession) -> None:
    async with local.get("/openapi.json") as response:
        body = await response.json()
    assert set(body["paths"]) == {
        "/status", "/healthz", "/readyz", "/metrics", "/events", "/checkpoints", "/interruption", "/flush", "/drill",
            "/checkpoints/{name}/complete",
    }  # fmt: skip
    schemas = body["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(body)))
    assert references
    assert references <= set(schemas)
    assert set(schemas["Status"]["properties"]["state"].get("enum", [])) or "DaemonState" in references
    assert set(schemas["InterruptionStatus"]["required"]) >= {"kind", "drill", "time", "detected_at", "deadline"}


async def test_metrics_say_what_the_status_says(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.notice.publish(INTERRUPTION)
    async with local.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        lines = (await response.text()).splitlines()
    for line in (
        'spotguard_state{spotguard_state="watching"} 1.0',
        'spotguard_state{spotguard_state="draining"} 0.0',
        'spotguard_checkpoints{state="committed"} 1.0',
        'spotguard_checkpoints{state="failed"} 0.0',
        "spotguard_backlog_checkpoints 2.0",
        "spotguard_backlog_bytes 3072.0",
        "spotguard_exposure_age_seconds 12.0",
        "spotguard_upload_bytes_total 123456.0",
        "spotguard_upload_retries_total 7.0",
        "spotguard_imds_reachable 1.0",
        "spotguard_store_reachable 1.0",
        "spotguard_interruption_pending 1.0",
        f'spotguard_interruption_deadline_timestamp_seconds{{drill="false",kind="terminate"}} {NOON.timestamp() / 1e9}e+09',
        'spotguard_problems{code="imds-blind"} 1.0',
        'spotguard_problems{code="disk-low"} 0.0',
    ):
        assert line in lines, line
    assert any(line.startswith("spotguard_build_info{") and 'version="0.1.0"' in line for line in lines)


async def test_metrics_leave_out_what_is_not_known_and_follow_the_status(local: aiohttp.ClientSession, control: FakeControl) -> None:
    control.current = replace(
        control.current,
        state=DaemonState.FENCED,
        exposure=replace(control.current.exposure, seconds_since_last_commit=None),
        imds=replace(control.current.imds, reachable=None),
    )
    async with local.get("/metrics") as response:
        text = await response.text()
    assert 'spotguard_state{spotguard_state="fenced"} 1.0' in text
    assert "spotguard_exposure_age_seconds" not in text
    assert "spotguard_imds_reachable" not in text
    assert "spotguard_interruption_deadline" not in text
