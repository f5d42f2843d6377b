"""Is the trainer found, may it be signalled, and will it do more than die of the signal?"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from spotguard.adapters.processes.trainers import trainer_for
from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.daemon_control import DaemonRefused, NoDaemon
from spotguard.ports.trainer import TrainerProcess

NAME = "trainer"
_UNTOLD = "at a notice the trainer is not told: what it computed since its last save is lost"


async def examine(patient: Patient) -> Sequence[Finding]:
    settings = patient.config.trainer
    if not trainer_for(settings).configured:
        if (finding := await _of_run(patient)) is not None:
            return [finding]
        fix = "set trainer.recipe to its framework, or trainer.signal with one of trainer.process, pid_file, systemd_unit, docker_container"
        return [Finding(NAME, Verdict.WARNING, "nobody is named whom to tell of a notice", _UNTOLD, fix)]
    processes = await patient.trainer_processes()
    if not processes:
        fix = "start it, or correct trainer.process (a regex over command lines), pid_file, systemd_unit or docker_container"
        return [Finding(NAME, Verdict.WARNING, "no process is found", _UNTOLD, fix)]
    if settings.signal is None:
        found = f"{_named(processes)} is found, but trainer.signal is not set"
        return [Finding(NAME, Verdict.WARNING, found, _UNTOLD, "set trainer.signal to the signal on which the trainer saves and stops")]
    return [_of_process(process, settings.signal) for process in processes]


async def _of_run(patient: Patient) -> Finding | None:
    """Where no target is configured `spotguard run` signals its own command; None when there is nothing to be said of one."""
    try:
        health, status = await patient.daemon()
    except (NoDaemon, DaemonRefused, TimeoutError):
        pids, signal_name = "", None
    else:
        ours = health.run == patient.keys.url
        pids, signal_name = ", ".join(map(str, status.trainer.pids)) if ours else "", status.trainer.signal
    if pids and signal_name:
        return Finding(NAME, Verdict.OK, f"`spotguard run` guards process {pids}, which gets {signal_name} at a notice")
    if patient.config.trainer.signal is not None:
        told = f"`spotguard run` will send {patient.config.trainer.signal} to the command that it starts"
        return Finding(NAME, Verdict.SKIPPED, f"{told}; `spotguard daemon` needs a target too, such as trainer.pid_file")
    return None


def _of_process(process: TrainerProcess, name: str) -> Finding:
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        fix = "run spotguard as the trainer's user, or give it CAP_KILL (systemd: AmbientCapabilities=CAP_KILL; docker: --cap-add KILL)"
        return Finding(NAME, Verdict.ERROR, f"process {process.pid} ({process.command}) may not be signalled", _UNTOLD, fix)
    except ProcessLookupError:
        return Finding(NAME, Verdict.WARNING, f"process {process.pid} has just ended", _UNTOLD, "look again when the trainer runs")
    if catches(process.pid, name) is False:
        why = "it would end at once and save nothing" if name not in ("SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT") else _UNTOLD
        fix = "let the training script handle it (docs/trainers.md shows how), or set trainer.signal to one that it handles"
        return Finding(NAME, Verdict.WARNING, f"process {process.pid} ({process.command}) does not catch {name}", why, fix)
    return Finding(NAME, Verdict.OK, f"process {process.pid} ({process.command}) is found and catches {name}")


def catches(pid: int, name: str) -> bool | None:
    """Whether a process has a handler for a signal (`SigCgt` in /proc/PID/status); None where that cannot be seen."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            mask = next((int(line.split()[1], 16) for line in file if line.startswith("SigCgt:")), None)
    except (OSError, ValueError):
        return None
    return None if mask is None else bool(mask >> (signal.Signals[name].value - 1) & 1)


def _named(processes: Sequence[TrainerProcess]) -> str:
    return ", ".join(f"process {process.pid} ({process.command})" for process in processes)
