"""Finding the right processes among real ones: launchers, forks, shells, ourselves."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from spotguard.adapters.processes.process_signal import send_signal
from spotguard.adapters.processes.process_table import as_trainer, process_facts, relevant_processes, same_process_runs
from spotguard.adapters.processes.process_trainer import PidFileTrainer, RegexTrainer
from spotguard.core.trainer_choice import Spared, choose
from spotguard.ports.trainer import CannotSignal, TrainerGone, TrainerProcess
from tests.support.real_processes import RANK, TRAINER, RealProcesses

LAUNCHER = """\
import subprocess, sys

ranks = []
for rank in range(2):
    command = [sys.executable, "-u", *sys.argv[1:], "--rank", str(rank)]
    ranks.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
for rank in ranks:
    rank.stdout.readline()
    print(rank.pid, flush=True)
for rank in ranks:
    rank.wait()
"""

FORKING_TRAINER = """\
import multiprocessing, os, signal, sys

def work(connection):
    connection.send(os.getpid())
    signal.pause()

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        ours, theirs = context.Pipe()
        context.Process(target=work, args=(theirs,), daemon=True).start()
        print(ours.recv(), flush=True)
    signal.pause()
"""

TORCH_TRAINER = """\
import signal
import torch.utils.data

class Numbers(torch.utils.data.IterableDataset):
    def __iter__(self):
        while True:
            yield 1

for _ in torch.utils.data.DataLoader(Numbers(), batch_size=1, num_workers=2):
    print("ready", flush=True)
    signal.pause()
"""


def choice_of(pattern: str, own_pid: int | None = None) -> tuple[set[int], dict[int, Spared]]:
    compiled = re.compile(pattern)
    own = os.getpid() if own_pid is None else own_pid
    choice = choose(compiled, relevant_processes(compiled, own), own)
    return {facts.pid for facts in choice.targets}, dict(choice.spared)


def test_the_ranks_of_a_launcher_are_targets_and_the_launcher_and_its_shell_are_not(processes: RealProcesses) -> None:
    script, launcher = processes.script("train_ranks.py", TRAINER), processes.script("run_ranks.py", LAUNCHER)
    command = f'"{sys.executable}" "{launcher}" "{script}" "{processes.folder}/noted"; true'
    shell, lines = processes.start("sh", "-c", command, lines=2)
    found, spared = choice_of(f"{processes.folder}/train_ranks")
    assert found == {int(line) for line in lines}
    assert spared[shell.pid] is Spared.LAUNCHER
    assert sorted(spared.values()) == [Spared.LAUNCHER, Spared.LAUNCHER]


def test_forked_workers_are_spared(processes: RealProcesses) -> None:
    trainer, lines = processes.python(processes.script("train_forks.py", FORKING_TRAINER), lines=3)
    found, spared = choice_of(f"{processes.folder}/train_forks")
    assert found == {trainer.pid}
    assert spared == {int(line): Spared.WORKER for line in lines}


@pytest.mark.needs_hf
@pytest.mark.skipif(not os.path.exists(os.environ.get("SPOTGUARD_HF_PYTHON", "")), reason="SPOTGUARD_HF_PYTHON names no Python with torch")
def test_workers_of_a_real_data_loader_are_spared(processes: RealProcesses) -> None:
    script = processes.script("train_torch.py", TORCH_TRAINER)
    trainer, _ = processes.start(os.environ["SPOTGUARD_HF_PYTHON"], script, stdin=subprocess.DEVNULL)
    found, spared = choice_of(f"{processes.folder}/train_torch")
    assert found == {trainer.pid}
    assert len(spared) == 2
    assert set(spared.values()) == {Spared.WORKER}


@pytest.mark.needs_hf
@pytest.mark.skipif(not os.path.exists(os.environ.get("SPOTGUARD_HF_PYTHON", "")), reason="SPOTGUARD_HF_PYTHON names no Python with torch")
def test_the_ranks_of_a_real_torchrun_are_targets(processes: RealProcesses) -> None:
    script = processes.script("train_ranks.py", RANK)
    torchrun = (os.environ["SPOTGUARD_HF_PYTHON"], "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    launcher, lines = processes.start(*torchrun, script, processes.folder / "noted", lines=2, stderr=subprocess.DEVNULL)
    found, spared = choice_of(f"{processes.folder}/train_ranks")
    assert found == {int(line) for line in lines}
    assert spared == {launcher.pid: Spared.LAUNCHER}


def test_we_and_the_shells_that_started_us_are_spared_when_the_pattern_matches_them(processes: RealProcesses) -> None:
    looker = (
        "import asyncio, sys; from spotguard.adapters.processes.process_trainer import RegexTrainer; "
        "print([p.pid for p in asyncio.run(RegexTrainer(sys.argv[1]).find())])"
    )
    trainer, _ = processes.python(processes.script("train_me.py", TRAINER), processes.folder / "noted")
    pattern = f"{processes.folder}/train_me"
    _, (line,) = processes.start("sh", "-c", f'"{sys.executable}" -c "{looker}" "{pattern}"; true', cwd=Path.cwd())
    assert line == f"[{trainer.pid}]"


def test_another_spotguard_is_spared(processes: RealProcesses) -> None:
    other = processes.script("spotguard", TRAINER)
    process, _ = processes.python(other, processes.folder / "train_me.py")
    found, spared = choice_of(f"{processes.folder}/train_me")
    assert found == set()
    assert spared == {process.pid: Spared.SPOTGUARD}


async def test_a_zombie_is_gone(processes: RealProcesses) -> None:
    process, _ = processes.python(processes.script("train_me.py", TRAINER), processes.folder / "noted")
    trainer = RegexTrainer(f"{processes.folder}/train_me")
    (found,) = await trainer.find()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - ended at once; its status stays unasked
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert not await trainer.alive(found)
    assert list(await trainer.find()) == []
    with pytest.raises(TrainerGone):
        await trainer.signal(found, "SIGUSR1")


def test_start_times_are_those_of_psutil(processes: RealProcesses) -> None:
    process, _ = processes.python(processes.script("train_me.py", TRAINER), "x")
    facts = process_facts(process.pid)
    assert facts is not None
    assert facts.started == pytest.approx(psutil.Process(process.pid).create_time(), abs=0.02)
    assert facts.ppid == os.getpid()
    assert facts.arguments == tuple(psutil.Process(process.pid).cmdline())


def test_a_name_with_brackets_and_spaces_does_not_confuse(processes: RealProcesses) -> None:
    odd = processes.folder / ") Z 1 (x"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([odd, "60"])
    try:
        facts = process_facts(process.pid)
        assert facts is not None
        assert (facts.ppid, facts.zombie) == (os.getpid(), False)
    finally:
        process.kill()
        process.wait()


def test_a_file_that_is_younger_than_the_process_counts_and_an_older_one_does_not(processes: RealProcesses) -> None:
    process, _ = processes.python(processes.script("train_me.py", TRAINER), "x")
    born = psutil.Process(process.pid).create_time()
    path = processes.folder / "trainer.pid"
    path.write_text(f"  {process.pid}\nmore\n")
    trainer = PidFileTrainer(path)

    def found() -> list[int]:
        return [facts.pid for facts in asyncio.run(trainer.find())]

    assert found() == [process.pid]
    os.utime(path, (born - 5, born - 5))
    assert found() == []
    os.utime(path, (born + 2, born + 2))
    assert found() == [process.pid]


@pytest.mark.parametrize("content", ["", "\n", "no number", "0", "-1", "1.5", "99999999999999", "4194305"])
async def test_a_pid_file_without_a_live_number_names_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "trainer.pid").write_text(content)
    assert list(await PidFileTrainer(tmp_path / "trainer.pid").find()) == []


async def test_a_pid_file_that_names_us_or_who_started_us_names_nobody(tmp_path: Path) -> None:
    for pid in (os.getpid(), os.getppid()):
        (tmp_path / "trainer.pid").write_text(str(pid))
        assert list(await PidFileTrainer(tmp_path / "trainer.pid").find()) == []


async def test_a_pid_file_that_is_a_folder_names_nobody(tmp_path: Path) -> None:
    assert list(await PidFileTrainer(tmp_path).find()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else for a moment")
def test_a_process_of_another_user_cannot_be_signalled_and_the_fix_is_said(processes: RealProcesses) -> None:
    process, _ = processes.python(processes.script("train_me.py", TRAINER), "x")
    facts = process_facts(process.pid)
    assert facts is not None
    report = processes.folder / "report"
    report.touch(mode=0o666)
    report.chmod(0o666)
    child = os.fork()
    if child == 0:
        try:
            descriptor = os.open(report, os.O_WRONLY)
            os.setuid(65534)
            try:
                send_signal(as_trainer(facts), "SIGUSR1")
            except CannotSignal as error:
                os.write(descriptor, f"{error}\n{error.fix}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    message, fix = report.read_text().splitlines()
    assert f"SIGUSR1 to process {process.pid}" in message
    assert "user root" in message
    assert "CAP_KILL" in fix
    assert same_process_runs(as_trainer(facts))


def test_an_unknown_signal_cannot_be_sent() -> None:
    with pytest.raises(CannotSignal, match="SIGNONE"):
        send_signal(TrainerProcess(os.getpid(), 0.0, ""), "SIGNONE")


async def test_without_process_descriptors_the_signal_is_still_sent_to_that_process_only(
    processes: RealProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise PermissionError(1, "seccomp")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    process, _ = processes.python(processes.script("train_me.py", TRAINER), "x")
    facts = process_facts(process.pid)
    assert facts is not None
    with pytest.raises(TrainerGone):
        send_signal(as_trainer(facts)._replace(started=1.0), "SIGKILL")
    send_signal(as_trainer(facts), "SIGTERM")
    assert process.wait() == -signal.SIGTERM
