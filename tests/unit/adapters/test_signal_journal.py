from __future__ import annotations

import asyncio
import json
import os
import stat
import tempfile
from pathlib import Path

import pytest

from spotguard.adapters.processes.signal_journal import FileSignalJournal, journal_path
from spotguard.ports.announcements import SignalJournal
from tests.support.memory_trainer import MemoryJournal


@pytest.fixture(params=["memory", "file"])
def restarted(request: pytest.FixtureRequest, tmp_path: Path) -> list[SignalJournal]:
    """The journal of a daemon, and of the one that runs after it."""
    if request.param == "memory":
        kept = MemoryJournal()
        return [kept, kept]
    return [FileSignalJournal(tmp_path / "spotguard" / "signalled.json") for _ in range(2)]


async def test_what_was_added_is_there_after_a_restart(restarted: list[SignalJournal]) -> None:
    first, second = restarted
    assert await first.read() == frozenset()
    await first.add("notice-1 100 17.25")
    await first.add("notice-1 101 17.30")
    await first.add("notice-1 100 17.25")
    assert await first.read() == await second.read() == {"notice-1 100 17.25", "notice-1 101 17.30"}
    await second.add("notice-2 100 17.25")
    assert await first.read() == await second.read()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"signalled": [1]}', '{"signalled": null}', "\x00\x00", "[" * 100_000])
async def test_damaged_content_is_no_entries_and_is_written_over(tmp_path: Path, content: str) -> None:
    path = tmp_path / "signalled.json"
    path.write_text(content)
    journal = FileSignalJournal(path)
    assert await journal.read() == frozenset()
    await journal.add("n 1 1.00")
    assert json.loads(path.read_text()) == {"signalled": ["n 1 1.00"]}


async def test_it_does_not_grow_for_ever_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "signalled.json"
    path.write_text(json.dumps({"signalled": [f"old {number} 1.00" for number in range(5000)]}))
    await FileSignalJournal(path).add("new 1 1.00")
    entries = json.loads(path.read_text())["signalled"]
    assert len(entries) == 1000
    assert entries[-1] == "new 1 1.00"
    assert os.listdir(tmp_path) == ["signalled.json"]


async def test_daemons_that_share_the_file_lose_no_entry_of_each_other(tmp_path: Path) -> None:
    journals = [FileSignalJournal(tmp_path / "signalled.json") for _ in range(8)]
    await asyncio.gather(*(journal.add(f"n {number} {turn}.00") for number, journal in enumerate(journals) for turn in range(5)))
    assert len(await FileSignalJournal(tmp_path / "signalled.json").read()) == 40


async def test_an_entry_that_cannot_be_written_counts_for_this_daemon_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = FileSignalJournal(tmp_path / "file" / "signalled.json")
    await journal.add("n 1 1.00")
    assert await journal.read() == {"n 1 1.00"}


def test_the_runtime_directory_of_systemd_is_used(tmp_path: Path) -> None:
    assert journal_path({"RUNTIME_DIRECTORY": f"{tmp_path}:/other"}) == tmp_path / "spotguard" / "signalled.json"


def test_without_it_a_folder_of_our_own_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, session = tmp_path / "run", tmp_path / "session"
    session.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    environment = {"XDG_RUNTIME_DIR": str(session)}
    ours = tmp_path / "tmp" / f"spotguard-{os.geteuid()}"
    assert journal_path({}, system_folder=system) == ours / "signalled.json"
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700
    assert journal_path(environment, system_folder=system) == session / "spotguard" / "signalled.json"
    system.mkdir()
    assert journal_path(environment, system_folder=system) == system / "spotguard" / "signalled.json"


def test_a_folder_that_others_prepared_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trap = tmp_path / f"spotguard-{os.geteuid()}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    trap.symlink_to(elsewhere)
    assert journal_path({}, system_folder=tmp_path / "none").parent not in {trap, elsewhere}
    trap.unlink()
    trap.mkdir()
    trap.chmod(0o777)
    assert journal_path({}, system_folder=tmp_path / "none").parent != trap
    trap.chmod(0o700)
    assert journal_path({}, system_folder=tmp_path / "none").parent == trap
