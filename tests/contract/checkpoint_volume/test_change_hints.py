"""Hints from a real inotify."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from spotguard.adapters.disk import inotify, inotify_limits
from spotguard.adapters.disk.inotify import change_hints


class Heard:
    def __init__(self) -> None:
        self.hints: list[tuple[str | None, bool]] = []
        self.degraded: list[str] = []
        self._news = asyncio.Event()

    def change(self, path: str | None, closed: bool) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.hints.append((path, closed))
        self._news.set()

    async def begin(self) -> None:
        """It watches, and has said that anything may have changed before."""
        await self.until(lambda: (None, False) in self.hints)
        self.hints.clear()

    def degrade(self, reason: str) -> None:
        self.degraded.append(reason)
        self._news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self._news.clear()
                await self._news.wait()


async def test_what_happened_before_it_watched_may_be_anything(tmp_path: Path) -> None:
    heard = Heard()
    async with change_hints(tmp_path, heard.change, heard.degrade):
        await heard.until(lambda: bool(heard.hints))
    assert heard.hints == [(None, False)]


async def test_what_a_trainer_does_is_heard_with_its_path(tmp_path: Path) -> None:
    heard = Heard()
    (tmp_path / "sft").mkdir()
    async with change_hints(tmp_path, heard.change, heard.degrade):
        await heard.begin()
        (tmp_path / "sft" / "w.pt").write_bytes(b"x")
        await heard.until(lambda: ("sft/w.pt", True) in heard.hints)
        (tmp_path / "sft" / "w.pt").rename(tmp_path / "sft" / "v.pt")
        await heard.until(lambda: any(path == "sft/v.pt" for path, _ in heard.hints))
        (tmp_path / "sft" / "v.pt").unlink()
        await heard.until(lambda: ("sft/v.pt", False) in heard.hints or len(heard.hints) > 4)
    assert not heard.degraded


async def test_a_folder_that_is_new_is_listened_to(tmp_path: Path) -> None:
    heard = Heard()
    async with change_hints(tmp_path, heard.change, heard.degrade):
        await heard.begin()
        (tmp_path / "a" / "b").mkdir(parents=True)
        await heard.until(lambda: any(path == "a/b" for path, _ in heard.hints))
        (tmp_path / "a" / "b" / "w").write_bytes(b"x")
        await heard.until(lambda: ("a/b/w", True) in heard.hints)


async def test_writing_on_and_on_says_nothing_until_the_close(tmp_path: Path) -> None:
    heard = Heard()
    async with change_hints(tmp_path, heard.change, heard.degrade):
        await heard.begin()
        with open(tmp_path / "w", "wb", buffering=0) as file:
            for _ in range(1000):
                file.write(b"x")
            await heard.until(lambda: ("w", False) in heard.hints)
            before = len(heard.hints)
            (tmp_path / "fence").touch()
            await heard.until(lambda: any(path == "fence" for path, _ in heard.hints))
            assert {path for path, _ in heard.hints[before:]} == {"fence"}
        await heard.until(lambda: ("w", True) in heard.hints)


async def test_a_flood_is_a_few_calls(tmp_path: Path) -> None:
    heard = Heard()
    async with change_hints(tmp_path, heard.change, heard.degrade):
        await heard.begin()
        for number in range(5000):
            (tmp_path / f"f{number}").touch()
        await heard.until(lambda: any(path in (None, "f4999") for path, _ in heard.hints))
        await asyncio.sleep(0)
    assert len(heard.hints) < 5000


async def test_a_root_that_is_replaced_is_listened_to_again(tmp_path: Path) -> None:
    heard = Heard()
    root = tmp_path / "root"
    async with change_hints(root, heard.change, heard.degrade, check_seconds=0.01):
        assert root.is_dir()
        await heard.begin()
        shutil.rmtree(root)
        await heard.until(lambda: (None, False) in heard.hints)
        await asyncio.sleep(0.05)
        heard.hints.clear()
        (root / "sub").mkdir(parents=True)
        await heard.until(lambda: (None, False) in heard.hints)
        (root / "sub" / "w").write_bytes(b"x")
        await heard.until(lambda: ("sub/w", True) in heard.hints)


@pytest.mark.parametrize("how", ["left", "raised", "cancelled"])
async def test_however_it_ends_no_thread_stays(tmp_path: Path, how: str) -> None:
    before = {thread.ident for thread in threading.enumerate()}

    async def listen() -> None:
        async with change_hints(tmp_path, lambda *_: None, pytest.fail):
            if how == "raised":
                raise KeyError
            if how == "cancelled":
                await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    if how == "cancelled":
        await asyncio.sleep(0.1)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    left = [thread for thread in threading.enumerate() if thread.ident not in before and not thread.name.startswith("asyncio")]
    assert left == []


@pytest.mark.parametrize(("number", "fix"), [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")])
async def test_limits_of_the_kernel_are_told_with_their_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    heard = Heard()
    monkeypatch.setattr(inotify, "Observer", refuse)
    async with change_hints(tmp_path, heard.change, heard.degrade):
        (tmp_path / "w").touch()
        await asyncio.sleep(0.05)
    assert len(heard.degraded) == 1
    assert fix in heard.degraded[0]
    assert not heard.hints


async def test_folders_that_get_no_watch_later_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    async with change_hints(tmp_path, heard.change, heard.degrade, check_seconds=0.01):
        monkeypatch.setattr(inotify_limits, "refusal", lambda _: inotify_limits.told(OSError(errno.ENOSPC, "")))
        (tmp_path / "a").mkdir()
        await heard.until(lambda: bool(heard.degraded))
        (tmp_path / "b").mkdir()
        await heard.until(lambda: any(path == "b" for path, _ in heard.hints))
        await asyncio.sleep(0.1)
    assert len(heard.degraded) == 1
    assert "max_user_watches" in heard.degraded[0]


async def test_on_a_filesystem_of_other_hosts_only_the_scans_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    monkeypatch.setattr(inotify, "filesystem_type", lambda _: "nfs4")
    async with change_hints(tmp_path, heard.change, heard.degrade):
        pass
    assert "nfs4" in heard.degraded[0]


def test_this_machine_gives_a_watch(tmp_path: Path) -> None:
    assert inotify_limits.refusal(str(tmp_path)) is None
    assert "cannot watch" in (inotify_limits.refusal(str(tmp_path / "none")) or "")
