"""torchrun kills its workers 30 s after it was told to end, unless it was started with a longer time (pytorch/pytorch#119856)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from spotguard.adapters.processes.process_table import read_arguments, read_stat
from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.exposure import NOTICE_SECONDS

NAME = "torchrun"
VARIABLE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
_DEFAULT_SECONDS = 30.0
_MARKS = ("torchrun", "torch.distributed.run", "torch/distributed/run.py", "torch.distributed.launch")


async def examine(patient: Patient) -> Sequence[Finding]:
    agents = {pid for process in await patient.trainer_processes() for pid in _lineage(process.pid) if _is_torchrun(pid)}
    if not agents:
        return [Finding(NAME, Verdict.SKIPPED, "the trainer is not found below a torchrun")]
    needed = NOTICE_SECONDS - patient.config.interruption.margin_seconds
    return [_of_agent(pid, needed) for pid in sorted(agents)]


def _of_agent(pid: int, needed: float) -> Finding:
    environment = _environment(pid)
    if environment is None:
        return Finding(NAME, Verdict.SKIPPED, f"the environment of torchrun (process {pid}) may not be read")
    option = next((value for name, value in _options(pid) if name.replace("_", "-") == "--shutdown-timeout"), None)
    stated = option or environment.get(VARIABLE)
    try:
        seconds = float(stated) if stated else _DEFAULT_SECONDS
    except ValueError:
        seconds = _DEFAULT_SECONDS
    if seconds >= needed:
        return Finding(NAME, Verdict.OK, f"torchrun (process {pid}) gives its workers {seconds:g} s to end")
    return Finding(
        NAME,
        Verdict.WARNING,
        f"torchrun (process {pid}) kills its workers {seconds:g} s after SIGTERM{'' if stated else ', the default'}",
        f"a save that takes longer is lost, although a notice leaves {needed:g} s",
        f"start the training with {VARIABLE}={needed:.0f} in its environment",
    )


def _lineage(pid: int) -> Iterator[int]:
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        yield pid
        stat = read_stat(pid)
        pid = stat.ppid if stat else 0


def _is_torchrun(pid: int) -> bool:
    return any(argument.rpartition("/")[2] == mark or argument.endswith(mark) for argument in read_arguments(pid)[:4] for mark in _MARKS)


def _options(pid: int) -> Iterator[tuple[str, str]]:
    arguments = read_arguments(pid)
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if equals:
            yield name, value
        elif at + 1 < len(arguments):
            yield name, arguments[at + 1]


def _environment(pid: int) -> Mapping[str, str] | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = os.fsdecode(file.read())
    except OSError:
        return None
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)
