"""`spotguard run` on a terminal, and as PID 1."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from spotguard.adapters.processes.process_table import read_stat
from tests.e2e.run.run_machine import TRAINER, RunMachine, wait_for

SHELL_JOB = """\
import json, os, signal, sys, time
got = []
for name in ("SIGINT", "SIGTSTP", "SIGCONT", "SIGHUP"):
    number = getattr(signal, name)
    if name != "SIGTSTP":
        signal.signal(number, lambda n, f: got.append(signal.Signals(n).name))
print(json.dumps({"pid": os.getpid(), "foreground": os.tcgetpgrp(0) == os.getpgrp()}), flush=True)
line = sys.stdin.readline()
print(json.dumps({"line": line.strip()}), flush=True)
while "SIGINT" not in got:
    time.sleep(0.02)
time.sleep(0.3)
print(json.dumps({"got": got}), flush=True)
sys.exit(5)
"""


class Terminal:
    """A process that has a terminal of its own, as a shell starts it there."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, environment)
        self.text = ""

    def read_until(self, mark: str, seconds: float = 60.0) -> str:
        until = time.monotonic() + seconds
        while mark not in self.text:
            assert time.monotonic() < until, f"no {mark!r} in {self.text!r}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                with suppress(OSError):  # EIO: nobody is left at the other end
                    self.text += os.read(self._terminal, 65536).decode(errors="replace")
        return self.text

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait(self, seconds: float = 30.0) -> int:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if select.select([self._terminal], [], [], 0.05)[0]:
                with suppress(OSError):
                    self.text += os.read(self._terminal, 65536).decode(errors="replace")
        raise AssertionError(f"it did not end: {self.text!r}")

    def close(self) -> None:
        os.close(self._terminal)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


@pytest.fixture
def terminal_of(machine: RunMachine) -> Iterator[list[Terminal]]:
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.close()


def test_on_a_terminal_the_command_is_the_foreground_job_and_ctrl_c_reaches_it_once(
    machine: RunMachine, terminal_of: list[Terminal]
) -> None:
    words = machine.words("--", sys.executable, "-c", SHELL_JOB)
    terminal = Terminal(words, machine.environment())
    terminal_of.append(terminal)
    terminal.read_until('"foreground": true')
    terminal.type("typed\n")
    terminal.read_until('"line": "typed"')
    terminal.type("\x03")
    terminal.read_until('"got": ["SIGINT"]')
    assert terminal.wait() == 5


def test_ctrl_z_stops_the_whole_job_and_fg_lets_it_go_on(machine: RunMachine, terminal_of: list[Terminal]) -> None:
    words = machine.words("--", sys.executable, "-c", SHELL_JOB)
    script = " ".join(f"'{word}'" for word in words)
    terminal = Terminal(["bash", "--norc", "-i"], machine.environment(PS1="prompt>"))
    terminal_of.append(terminal)
    terminal.read_until("prompt>")
    terminal.type(f"{script}\n")
    terminal.read_until('"foreground": true')
    terminal.type("\x1a")
    terminal.read_until("Stopped")
    terminal.type("fg\n")
    terminal.type("typed\n")
    terminal.read_until('"line": "typed"')
    terminal.type("\x03")
    terminal.read_until('"got": ["SIGCONT", "SIGINT"]')
    terminal.type("echo status $?\n")
    terminal.read_until("status 5")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a PID namespace needs root and unshare")
def test_as_pid_1_it_reaps_and_passes_sigterm_on(machine: RunMachine) -> None:
    orphans = (
        f"for n in 1 2 3 4 5; do (sleep 0.1 & ) ; done; exec '{sys.executable}' '{TRAINER}' '{machine.output}' --steps 100000 --every 20"
    )
    run = machine.start("--", "sh", "-c", orphans, before=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"))
    run.wait_told("saved")
    (namespace_pid_1,) = [
        int(name) for name in os.listdir("/proc") if name.isdigit() and (stat := read_stat(int(name))) and stat.ppid == run.process.pid
    ]
    children = [
        int(name) for name in os.listdir("/proc") if name.isdigit() and (stat := read_stat(int(name))) and stat.ppid == namespace_pid_1
    ]
    wait_for("the orphans to be reaped", lambda: all((s := read_stat(pid)) is None or not s.ended for pid in children) or None)
    assert run.told("parent") == [1]
    os.kill(namespace_pid_1, signal.SIGTERM)
    assert run.wait() == 75, run.err
    assert f"checkpoint-{run.told('stopped')[0]}" in machine.committed()


def test_what_goes_on_in_the_background_is_named_and_the_run_is_not_finished(machine: RunMachine) -> None:
    run = machine.start("--", "sh", "-c", "sleep 30 >/dev/null 2>&1 & echo started")
    assert run.wait() == 0, run.err
    assert "left processes running, which are not guarded any more" in run.err
    assert "(sleep 30)" in run.err
    assert ".spotguard/finished.json" not in machine.listing()


def test_output_passes_through_however_fast_it_comes(machine: RunMachine) -> None:
    megabytes = 200
    command = machine.words("--", "sh", "-c", f"head -c {megabytes}000000 /dev/zero; echo; echo to-stderr >&2")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=100, check=False, env=machine.environment())
    first, rest = done.stdout.split(b"\n", 1)
    assert first.startswith(b"starting fresh")
    assert rest == bytes(megabytes * 1_000_000) + b"\n"
    assert b"to-stderr\n" in done.stderr


def test_the_command_inherits_what_it_would_have_without_us(machine: RunMachine) -> None:
    show = (
        "import json, os, signal\n"
        "print(json.dumps([sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')),"
        " [n for n in os.environ if n.startswith(('NOTIFY', 'WATCHDOG'))],"
        " [s.name for s in signal.valid_signals() if isinstance(s, signal.Signals) and signal.getsignal(s) == signal.SIG_IGN]]))"
    )
    command = machine.words("--", sys.executable, "-c", show)
    environment = machine.environment(NOTIFY_SOCKET="/nowhere", WATCHDOG_USEC="10000000")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False, env=environment)
    descriptors, variables, ignored = json.loads(done.stdout.splitlines()[1])
    assert (descriptors, variables, sorted(ignored)) == ([0, 1, 2], [], ["SIGPIPE", "SIGXFSZ"])  # the last two are Python's own


def test_a_service_manager_hears_that_the_command_runs_and_that_it_stops(machine: RunMachine) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(machine.folder / "notify"))
        manager.settimeout(30)
        settings = {"NOTIFY_SOCKET": str(machine.folder / "notify"), "WATCHDOG_USEC": "2000000"}
        command = machine.words("--", "sh", "-c", "echo started; sleep 60")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=machine.environment(**settings))
        try:
            heard = [manager.recv(100)]
            while heard[-1] != b"READY=1":
                heard.append(manager.recv(100))
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)][1] == b"started\n"
            process.terminate()
            while heard[-1] != b"STOPPING=1":
                heard.append(manager.recv(100))
            assert process.wait(30) == 75
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    assert b"WATCHDOG=1" in heard
    assert b"EXTEND_TIMEOUT_USEC=30000000" in heard


def test_a_further_node_trains_and_commits_nothing(machine: RunMachine) -> None:
    run = machine.train("--steps", "2", run=("--strict",), node__rank=1, node__count=2)
    assert run.wait() == 0, run.err
    assert run.told("saved") == [2]
    assert machine.listing() == []
    assert "this node commits nothing: node.rank 0 does" in run.err
