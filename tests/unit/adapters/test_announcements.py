from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from spotguard.adapters.telling import hook as hook_module
from spotguard.adapters.telling.announcements import LocalAnnouncements
from spotguard.ports.announcements import Announcements
from tests.support.memory_trainer import MemoryAnnouncements

NOTICE = {"kind": "terminate", "deadline": "2026-11-23T20:01:55Z", "detected_at": "2026-11-23T20:00:00Z", "drill": False}


def announcements(*, notice_file: Path | None = None, seconds: float = 10.0, **hooks: Sequence[str]) -> LocalAnnouncements:
    return LocalAnnouncements(notice_file=notice_file, hooks=hooks, hook_seconds=dict.fromkeys(hooks, seconds))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(5):
        while not gone(pid):  # noqa: ASYNC110 - the end of a process that is not our child
            await asyncio.sleep(0.01)


def test_the_fake_and_the_real_one_have_one_shape() -> None:
    both: list[Announcements] = [MemoryAnnouncements(), LocalAnnouncements()]
    assert len(both) == 2


async def test_the_notice_file_is_whole_readable_by_all_and_gone_when_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "made" / "for it" / "notice.json"
    ours = announcements(notice_file=path)
    before = os.umask(0o077)
    try:
        await ours.publish_notice(NOTICE)
    finally:
        os.umask(before)
    assert json.loads(path.read_text()) == NOTICE
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["notice.json"]
    await ours.publish_notice(NOTICE | {"kind": "stop"})
    assert json.loads(path.read_text())["kind"] == "stop"
    await ours.withdraw_notice()
    await ours.withdraw_notice()
    assert os.listdir(path.parent) == []


async def test_a_reader_never_sees_a_part_of_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "notice.json"
    ours = announcements(notice_file=path)
    writing = asyncio.create_task(_publish_often(ours))
    looks = 0
    while not writing.done():
        if path.exists():
            assert json.loads(path.read_text())["kind"] == "terminate"
            looks += 1
        await asyncio.sleep(0)
    await writing
    assert looks > 10


async def _publish_often(ours: LocalAnnouncements) -> None:
    for _ in range(50):
        await ours.publish_notice(NOTICE | {"text": "x" * 100_000})


async def test_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notice.json"
    path.write_text('{"kind": "mine"}')
    ours = announcements(notice_file=path)
    await ours.withdraw_notice()
    assert path.exists()
    await ours.publish_notice(NOTICE)
    path.write_text("changed by hand")
    await ours.withdraw_notice()
    assert path.read_text() == "changed by hand"


async def test_what_an_earlier_daemon_left_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "notice.json"
    await announcements(notice_file=path).publish_notice(NOTICE)
    (tmp_path / ".notice.json.spotguard-tmp").write_text("half a not")
    restarted = announcements(notice_file=path)
    await restarted.withdraw_notice()
    assert not path.exists()
    await restarted.publish_notice(NOTICE)
    assert os.listdir(tmp_path) == ["notice.json"]


async def test_a_notice_file_that_cannot_be_written_is_logged_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logs:
        for path in (tmp_path / "file" / "notice.json", tmp_path):
            ours = announcements(notice_file=path)
            await ours.publish_notice(NOTICE)
            await ours.withdraw_notice()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [
        "notice_file.write_failed",
        "notice_file.removal_failed",
        "notice_file.write_failed",
        "notice_file.removal_failed",
    ]


async def test_nothing_configured_is_nothing_done() -> None:
    with capture_logs() as logs:
        await announcements().publish_notice(NOTICE)
        await announcements().withdraw_notice()
        await announcements().run_hook("on_notice", NOTICE)
    assert logs == []


async def test_a_hook_gets_the_event_as_json_and_no_shell_touches_its_words(tmp_path: Path) -> None:
    script = "import json, os, sys; json.dump([sys.argv[1:], json.load(sys.stdin), os.environ['SPOTGUARD_EVENT']], open(sys.argv[1], 'w'))"
    told = tmp_path / "told $(id) ; *"
    payload = {"name": "größe", "when": Path("/x"), "big": "x" * 300_000}
    await announcements(on_safe=[sys.executable, "-c", script, str(told)]).run_hook("on_safe", payload)
    assert json.loads(told.read_text()) == [[str(told)], payload | {"when": "/x"}, "on_safe"]


async def test_a_hook_inherits_no_open_file_and_nothing_of_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    script = "import os, sys; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')), 'NOTIFY_SOCKET' in os.environ)"
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        with capture_logs() as logs:
            await announcements(on_safe=[sys.executable, "-c", script]).run_hook("on_safe", {})
    assert logs[-1]["output"] == "[0, 1, 2, 3] False"  # 3 is the listing itself


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (["/no/such/command"], "hook.start_failed"),
        (["/"], "hook.start_failed"),
        (["sh", "-c", "a\0b"], "hook.start_failed"),
        (["sh", "-c", "echo it broke >&2; exit 3"], "hook.failed"),
        (["sh", "-c", "kill -9 $$"], "hook.failed"),
    ],
)
async def test_a_hook_that_fails_is_logged_and_no_more(command: list[str], event: str) -> None:
    with capture_logs() as logs:
        await announcements(on_commit=command).run_hook("on_commit", {"name": "x"})
    assert [entry["event"] for entry in logs] == [event]
    if "it broke" in command[-1]:
        assert (logs[0]["status"], logs[0]["output"]) == (3, "it broke")


async def test_a_hook_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; echo waiting; wait"
    with capture_logs() as logs:
        await announcements(seconds=0.5, on_notice=["sh", "-c", script]).run_hook("on_notice", {})
    assert [(entry["event"], entry["output"]) for entry in logs] == [("hook.timed_out", "waiting")]
    for name in ("self", "child"):
        await until_gone(int((tmp_path / name).read_text()))


async def test_a_hook_that_is_cancelled_is_ended(tmp_path: Path) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    task = asyncio.create_task(announcements(on_notice=["sh", "-c", f"echo $$ > {fifo}; exec sleep 60"]).run_hook("on_notice", {}))
    pid = int((await asyncio.to_thread(fifo.read_text)).strip())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid)


async def test_what_a_hook_leaves_in_the_background_does_not_hold_it_up(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo done"
    began = asyncio.get_running_loop().time()
    with capture_logs() as logs:
        await announcements(on_notice=["sh", "-c", script]).run_hook("on_notice", {})
    child = int((tmp_path / "child").read_text())
    try:
        assert asyncio.get_running_loop().time() - began < 5
        assert [(entry["event"], entry["output"]) for entry in logs] == [("hook.finished", "done")]
        assert not gone(child)
    finally:
        os.kill(child, 9)


async def test_a_hook_that_talks_without_end_neither_blocks_nor_fills_memory() -> None:
    with capture_logs() as logs:
        await announcements(on_notice=["sh", "-c", "head -c 30000000 /dev/zero | tr '\\0' x"]).run_hook("on_notice", {})
    assert logs[0]["event"] == "hook.finished"
    assert logs[0]["output"] == "x" * hook_module.MOST_OUTPUT_BYTES


async def test_hooks_run_side_by_side(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    both = announcements(on_notice=["sh", "-c", f"cat {fifo}"], on_problem=["sh", "-c", f"echo hello > {fifo}"])
    with capture_logs() as logs:
        await asyncio.gather(both.run_hook("on_notice", {}), both.run_hook("on_problem", {}))
    assert sorted((entry["hook"], entry["event"], entry["output"]) for entry in logs) == [
        ("on_notice", "hook.finished", "hello"),
        ("on_problem", "hook.finished", ""),
    ]


async def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {"on_notice": ["true"], "on_problem": ["/no/such"], "on_commit": ["sh", "-c", "exit 1"]}
    ours = announcements(**kinds)
    await ours.run_hook("on_notice", {})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for event in kinds:
            await ours.run_hook(event, {})
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_on_safe_has_a_minute_and_the_others_ten_seconds() -> None:
    ours = LocalAnnouncements(hooks={"on_safe": ["true"]})
    assert ours.limit_seconds("on_safe") == 60
    assert ours.limit_seconds("on_notice") == 10
