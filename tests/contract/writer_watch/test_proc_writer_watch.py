"""Who has files open, and how they ended: with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.adapters.processes import process_exit
from spotguard.adapters.processes.process_table import as_trainer, process_facts
from spotguard.adapters.processes.writer_watch import ProcWriterWatch
from spotguard.ports.trainer import TrainerProcess
from tests.support.real_processes import RealProcesses, real_processes

HOLDER = """\
import mmap, os, sys

path, mode = sys.argv[1:3]
if mode == "folder":
    held = os.open(path, os.O_RDONLY)
elif mode == "mapped":
    with open(path, "rb") as file:
        held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
else:
    held = open(path, mode)
print("ready", flush=True)
sys.exit(int(sys.stdin.readline()))
"""

TELLS_STATUS = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 15)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[RealProcesses]:
    with real_processes(tmp_path) as started:
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "out" / "step-1").mkdir(parents=True)
    (tmp_path / "out" / "step-1" / "model.pt").write_bytes(b"x" * 100)
    (tmp_path / "out" / "step-10").mkdir()
    (tmp_path / "out" / "step-10" / "model.pt").write_bytes(b"x" * 100)
    return tmp_path / "out"


@pytest.fixture
def watch(root: Path) -> Iterator[ProcWriterWatch]:
    watch = ProcWriterWatch(root)
    yield watch
    watch.close()


@pytest.fixture
def holder(processes: RealProcesses):  # type: ignore[no-untyped-def]
    script = processes.script("holder.py", HOLDER)

    def hold(path: Path, mode: str, script: Path = script) -> subprocess.Popen[str]:
        return processes.python(script, path, mode, stdin=subprocess.PIPE)[0]

    return hold


def finish(process: subprocess.Popen[str], status: int, *, reap: bool = True) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{status}\n")
    process.stdin.close()
    if reap:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def pids(found: frozenset[TrainerProcess]) -> set[int]:
    return {process.pid for process in found}


async def only(watch: ProcWriterWatch, folder: str = "step-1") -> TrainerProcess:
    (found,) = await watch.writers([folder])
    return found


@pytest.mark.parametrize("mode", ["wb", "r+b", "ab"])
async def test_who_has_a_file_open_for_writing_is_a_writer_of_its_folder(watch, root, holder, mode) -> None:  # type: ignore[no-untyped-def]
    process = holder(root / "step-1" / "model.pt", mode)
    assert pids(await watch.writers(["step-1"])) == {process.pid}
    assert pids(await watch.writers([str(root), "step-1/model.pt"])) == {process.pid}
    assert pids(await watch.writers(["step-10", "step-1/other.pt"])) == set()
    assert pids(await watch.users(["step-1"])) == {process.pid}


@pytest.mark.parametrize(("mode", "name"), [("rb", "model.pt"), ("mapped", "model.pt"), ("folder", "")])
async def test_who_only_reads_is_a_user_and_no_writer(watch, root, holder, mode, name) -> None:  # type: ignore[no-untyped-def]
    process = holder(root / "step-1" / name, mode)
    assert pids(await watch.writers(["step-1"])) == set()
    assert pids(await watch.users(["step-1"])) == {process.pid}
    assert pids(await watch.users(["step-10"])) == set()


async def test_we_ourselves_and_what_another_spotguard_reads_do_not_count(  # type: ignore[no-untyped-def]
    watch, root, holder, processes: RealProcesses
) -> None:
    spotguard = processes.script("spotguard", HOLDER)
    holder(root / "step-1" / "model.pt", "rb", spotguard)
    with open(root / "step-1" / "model.pt", "r+b"):
        assert await watch.writers(["step-1"]) == frozenset()
        assert await watch.users(["step-1"]) == frozenset()
    writing = holder(root / "step-1" / "model.pt", "r+b", spotguard)
    assert pids(await watch.users(["step-1"])) == {writing.pid}


async def test_a_root_behind_a_link_is_the_same_root(root: Path, holder, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "link").symlink_to(root)
    process = holder(root / "step-1" / "model.pt", "wb")
    linked = ProcWriterWatch(tmp_path / "link")
    assert pids(await linked.writers(["step-1"])) == {process.pid}
    linked.close()


async def test_a_writer_that_sees_other_mounts_is_known_by_the_file_itself(  # type: ignore[no-untyped-def]
    watch, root, processes: RealProcesses, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "volume"
    elsewhere.mkdir()
    script = processes.script("holder.py", HOLDER)
    command = f'mount --bind "{root}" "{elsewhere}" && exec python3 "{script}" "{elsewhere}/step-1/model.pt" ab'
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mount namespaces are not permitted here")
    process, _ = processes.start("unshare", "--mount", "sh", "-c", command, stdin=subprocess.PIPE)
    assert pids(await watch.writers(["step-1"])) == {process.pid}
    assert pids(await watch.writers(["step-10"])) == set()


async def test_while_it_runs_nobody_knows_how_it_will_end(watch, root, holder) -> None:  # type: ignore[no-untyped-def]
    holder(root / "step-1" / "model.pt", "wb")
    writer = await only(watch)
    assert await watch.exited_badly(writer) is None
    assert not await watch.died(writer)


@pytest.mark.skipif(not TELLS_STATUS, reason="Linux before 6.15 does not tell the status of other people's children")
@pytest.mark.parametrize(("status", "badly"), [(0, False), (1, True), (137, True)])
async def test_an_end_is_bad_unless_its_status_is_0(watch, root, holder, status, badly) -> None:  # type: ignore[no-untyped-def]
    process = holder(root / "step-1" / "model.pt", "wb")
    writer = await only(watch)
    finish(process, status)
    assert await watch.exited_badly(writer) is badly
    assert await watch.died(writer) is badly


async def test_a_killed_writer_ended_badly_and_that_stays_known(watch, root, holder) -> None:  # type: ignore[no-untyped-def]
    process = holder(root / "step-1" / "model.pt", "wb")
    writer = await only(watch)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert await watch.exited_badly(writer) is True
    assert await watch.exited_badly(writer) is True


@pytest.mark.parametrize(("status", "badly"), [(0, False), (3, True)])
async def test_the_status_is_known_before_the_parent_asks_for_it(watch, root, holder, status, badly) -> None:  # type: ignore[no-untyped-def]
    process = holder(root / "step-1" / "model.pt", "wb")
    writer = await only(watch)
    finish(process, status, reap=False)
    assert await watch.exited_badly(writer) is badly
    process.wait()
    assert await watch.exited_badly(writer) is badly


@pytest.mark.parametrize("status", [0, 1])
async def test_where_the_kernel_does_not_tell_any_end_is_a_bad_one(  # type: ignore[no-untyped-def]
    watch, root, holder, status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_exit, "_GET_INFO", 0xC040FF63)  # no such request
    process = holder(root / "step-1" / "model.pt", "wb")
    writer = await only(watch)
    finish(process, status)
    assert await watch.exited_badly(writer) is True


async def test_a_process_that_was_not_seen_writing_may_be_asked_for_too(watch, root, holder) -> None:  # type: ignore[no-untyped-def]
    process = holder(root / "step-1" / "model.pt", "rb")
    facts = process_facts(process.pid)
    assert facts is not None
    asked = as_trainer(facts)
    assert await watch.exited_badly(asked) is None
    finish(process, 0, reap=False)
    assert await watch.exited_badly(asked) is False
    assert await watch.exited_badly(TrainerProcess(4194305, 1.0, "long gone")) is True
    assert await watch.exited_badly(TrainerProcess(os.getpid(), 1.0, "had our number before")) is True


async def test_it_holds_no_more_than_a_few_descriptors(root: Path, monkeypatch: pytest.MonkeyPatch, holder) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(process_exit, "_MOST_DESCRIPTORS", 2)
    watch = ProcWriterWatch(root)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(4):
        holder(root / "step-1" / f"part-{number}", "wb")
    before = len(os.listdir("/proc/self/fd"))
    writers = await watch.writers(["step-1"])
    assert len(writers) == 4
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert {await watch.exited_badly(writer) for writer in writers} == {None}
    watch.close()
    watch.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_questions_may_be_asked_side_by_side(watch, root, holder) -> None:  # type: ignore[no-untyped-def]
    holder(root / "step-1" / "model.pt", "wb")
    writer = await only(watch)
    answers = await asyncio.gather(*(watch.writers(["step-1"]) for _ in range(3)), *(watch.exited_badly(writer) for _ in range(3)))
    assert answers[:3] == [frozenset({writer})] * 3
    assert answers[3:] == [None] * 3
