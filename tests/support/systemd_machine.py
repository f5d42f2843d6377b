"""A machine with a real systemd as PID 1, booted in a second in namespaces of its own (systemd-nspawn), with loopback only.

Its root is made by `servers/systemd_root.sh`; what a test changes in it is gone with the machine (`--volatile=overlay`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ROOT = Path(os.environ.get("SPOTGUARD_CI_ENV", REPOSITORY / ".ci-env")).resolve() / "systemd-root"
_BOOT_SECONDS = 60.0


def why_not() -> str | None:
    """What is missing for `booted`; None when nothing is."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    if missing := [program for program in ("systemd-nspawn", "nsenter") if shutil.which(program) is None]:
        return f"{missing[0]} is missing (apt: systemd-container, util-linux)"
    return None if (ROOT / "opt/spotguard").is_dir() else "tests/support/servers/systemd_root.sh has not made its root"


class SystemdMachine:
    def __init__(self, leader: int, log: Path) -> None:
        self._leader = leader
        self._log = log

    def run(self, command: str, *, check: bool = True, timeout: float = 60.0) -> str:
        """Runs a shell command inside, as root; its output (both streams). Raises AssertionError with it when it fails."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", "/bin/sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"},
        )
        assert not check or done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}\n{self.journal()}"
        return done.stdout.strip()

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """A file inside, with its folder."""
        put = f'mkdir -p "$(dirname {path})" && cat > {path} && chmod {mode} {path}'
        subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", "/bin/sh", "-c", put],
            input=text,
            text=True,
            timeout=20,
            check=True,
        )

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --value -p {name} {unit}")

    def main_pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID"))

    def until(self, what: str, holds: Callable[[], object], *, seconds: float = 30.0) -> None:
        """Asks again until it holds. Raises AssertionError, with the journal, when it does not in time."""
        give_up = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < give_up, f"not within {seconds:g} s: {what}\n{self.journal()}"
            time.sleep(0.1)

    def journal(self) -> str:
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", "journalctl", "--no-pager", "-o", "cat", "-n", "60"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout


@contextmanager
def booted(log: Path) -> Iterator[SystemdMachine]:
    """Boots, and powers off at the end. Raises AssertionError when it does not come up."""
    command = ["systemd-nspawn", "-q", "-D", str(ROOT), "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
    command += ["--kill-signal=SIGRTMIN+3", f"--machine=spotguard-{os.getpid()}", "--volatile=overlay", f"--bind-ro={REPOSITORY}:/src"]
    with log.open("wb") as console:
        nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
    try:
        machine = SystemdMachine(_leader_of(nspawn, log), log)
        give_up = time.monotonic() + _BOOT_SECONDS
        while machine.run("systemctl is-system-running --wait", check=False) not in ("running", "degraded"):
            assert time.monotonic() < give_up, f"systemd did not come up:\n{log.read_text(errors='replace')}"
            time.sleep(0.1)
        yield machine
    finally:
        nspawn.send_signal(signal.SIGTERM)
        try:
            nspawn.wait(30)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait()


def _leader_of(nspawn: subprocess.Popen[bytes], log: Path) -> int:
    """PID 1 of the machine, as the host numbers it: nspawn's only child once it has executed systemd."""
    give_up = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < give_up and nspawn.poll() is None:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.05)
    raise AssertionError(f"systemd-nspawn did not boot:\n{log.read_text(errors='replace')}")
