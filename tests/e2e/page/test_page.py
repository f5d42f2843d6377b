"""The page in a real browser: what it shows of a quiet run, of a drain and of a daemon that is gone, and that it runs nothing foreign."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spotguard.adapters.http.server import LocalServer, serve_http
from spotguard.core.checkpoint import CheckpointState
from spotguard.core.notice import NoticeKind
from spotguard.core.problem import Problem, ProblemCode, Severity
from spotguard.core.status import BacklogStatus, CheckpointStatus, DaemonState, ExposureStatus, GivenUp, InterruptionStatus, UploadStatus
from tests.contract.http.fake_control import FakeControl

BROWSER = Path(os.environ.get("SPOTGUARD_CI_ENV", Path(__file__).parents[3] / ".ci-env")).resolve() / "browser/bin/python"

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is missing (apt: chromium)"),
    pytest.mark.skipif(not BROWSER.exists(), reason=f"{BROWSER} is missing: .ci/run installs playwright there"),
]

EVIL = "sft/<img src=x onerror=alert(1)>-7"


class Looker:
    """The browser, which looks when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def look(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        told: dict[str, Any] = json.loads(line)
        return told

    async def look_when(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self.look()


@pytest.fixture
async def control() -> FakeControl:
    control = FakeControl()
    now = datetime.now(UTC)

    def checkpoint(name: str, step: int, state: CheckpointState, sent: int, seconds_ago: float) -> CheckpointStatus:
        saved = now - timedelta(seconds=seconds_ago)
        done = saved + timedelta(seconds=4) if state is CheckpointState.COMMITTED else None
        return CheckpointStatus(name, "sft", step, state, 9, 3_200_000_000, sent, int(done is not None), saved, done)

    control.current = replace(
        control.current,
        since=now - timedelta(hours=3),
        problems=(),
        checkpoints=(
            checkpoint("sft/checkpoint-1100", 1100, CheckpointState.COMMITTED, 3_200_000_000, 620),
            checkpoint("sft/checkpoint-1150", 1150, CheckpointState.COMMITTED, 3_200_000_000, 312),
            checkpoint("sft/checkpoint-1200", 1200, CheckpointState.UPLOADING, 1_400_000_000, 6),
            checkpoint(EVIL, 7, CheckpointState.COMMITTED, 3_200_000_000, 9000),
        ),
        backlog=BacklogStatus(1, 1_800_000_000, 1.5),
        exposure=ExposureStatus(12.0, 2.0, 5.2, 3.1, True, 120_000_000_000),
        upload=UploadStatus(1_200_000_000, 402_000_000_000, 3),
    )
    return control


@pytest.fixture
async def server(control: FakeControl) -> AsyncIterator[LocalServer]:
    def refuse(reason: str) -> None:
        raise AssertionError(reason)

    async with serve_http("127.0.0.1:0", control, None, refuse) as server:
        yield server


@pytest.fixture
async def looker(server: LocalServer, tmp_path: Path) -> AsyncIterator[Looker]:
    folder = Path(os.environ.get("SPOTGUARD_SCREENSHOTS", tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(str(BROWSER), str(Path(__file__).with_name("look.py")), f"http://{server.address}", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield Looker(process)
    if process.returncode is None:
        process.terminate()
    await process.wait()


async def test_one_look_tells_whether_the_run_is_safe(looker: Looker, control: FakeControl) -> None:
    quiet = await looker.look()
    for view in ("light", "dark", "phone"):
        seen = quiet["seen"][view]
        assert (seen["level"], seen["word"], seen["title"]) == ("good", "OK", "OK · spotguard")
        assert seen["risk"].startswith("5 min ")  # since the newest committed one was saved
        assert [row[0] for row in seen["checkpoints"]][:2] == ["sft/checkpoint-1200", "sft/checkpoint-1150"]
        assert seen["checkpoints"][-1][0] == EVIL  # shown, not run
        assert seen["images"] == 0
        assert seen["sparkline"]
        assert not seen["overflows"]
        assert seen["countdown"] is None
    assert 'heading "OK" [level=1]' in quiet["spoken"]
    assert "progressbar" in quiet["spoken"]
    assert "43 % sent" in quiet["spoken"]

    now = datetime.now(UTC)
    notice = InterruptionStatus(
        NoticeKind.TERMINATE, False, now + timedelta(seconds=95), now - timedelta(seconds=25), now + timedelta(seconds=90)
    )
    control.notice.publish(replace(notice, given_up=(GivenUp("sft/checkpoint-1190", "needs 300 s of the 90 s left"),)))
    fix = "raise the hop limit: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2"
    problem = Problem(ProblemCode.DOES_NOT_FIT, Severity.WARNING, now, "80 GB needs 256 s of 115 s", fix)
    control.current = replace(control.current, state=DaemonState.DRAINING, problems=(problem,))
    draining = await looker.look_when("DRAINING")
    for view in ("light", "dark", "phone"):
        seen = draining["seen"][view]
        minutes, _, seconds = seen["countdown"].partition(":")
        assert 60 < int(minutes) * 60 + int(seconds) <= 90
        assert "does-not-fit" in seen["problems"][0]
        assert fix in seen["problems"][0]
        assert not seen["overflows"]
    assert "given up: sft/checkpoint-1190" in draining["spoken"]
    assert draining["foreign"] == []
    assert draining["complaints"] == []


async def test_a_daemon_that_is_gone_is_seen_to_be_gone(looker: Looker, server: LocalServer, control: FakeControl) -> None:
    assert (await looker.look())["seen"]["light"]["word"] == "OK"
    control.broken = True  # the stream ends, and none can be opened
    gone = await looker.look_when("NO ANSWER")
    assert gone["seen"]["phone"]["level"] == "bad"
    assert gone["seen"]["phone"]["checkpoints"]  # what it said last stays to be read
