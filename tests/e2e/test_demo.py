"""`spotguard demo` as a newcomer runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DEMO = [sys.executable, "-m", "spotguard", "demo"]


def processes_of(folder: Path) -> list[psutil.Process]:
    """Whatever still runs with the demo's temporary folder in its command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            found.append(process)
    return found


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "SPOTGUARD_WATCH__DIR": "/nowhere", "SPOTGUARD_IMDS__MODE": "off"}  # must not matter


def test_nothing_is_lost_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """With every option that changes the story; without any it is what `make demo` shows."""
    options = ("--dir", str(tmp_path / "out"), "--url", "s3://mine/my/run", "--set", "upload.part_size_mib=5")
    done = subprocess.run([*DEMO, "--json", *options], env=environment(tmp_path), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["promise_kept"] is True
    assert summary["steps_lost"] == 0
    assert summary["resumed_at_step"] == summary["stopped_at_step"] < summary["finished_at_step"]
    assert f"checkpoint-{summary['stopped_at_step']}" in [saved["name"] for saved in summary["saved"] if saved["state"] == "committed"]
    assert sum(phase["seconds"] for phase in summary["phases"]) < 60
    assert "copies each checkpoint to s3://mine/my/run" in done.stderr
    assert "curl -s http://127.0.0.1:" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_itself_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(DEMO, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "trainer started" in line:
                break
        started = processes_of(tmp_path)
        demo.send_signal(number)
        _, complaint = demo.communicate(timeout=30)
    assert started, "the daemon and the trainer did not run when the signal came"
    assert demo.returncode == 130
    assert complaint == ""
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []
