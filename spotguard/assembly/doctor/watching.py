"""Does the trainer write where we watch?"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence

from spotguard.adapters.processes.process_table import read_arguments
from spotguard.assembly.doctor.patient import Patient
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.ports.trainer import TrainerProcess

NAME = "watch-folder"
_WHY = "checkpoints that are written elsewhere are not saved"
_FOLDER_OPTION = re.compile(r"^--?(output|save|checkpoint|ckpt|checkpoints|default[_-]root)([_-](dir|directory|path|folder))?$")


async def examine(patient: Patient) -> Sequence[Finding]:
    root = patient.config.watch.dir
    findings = [_elsewhere(pid, folder, str(root)) for pid, folder in _told_folders(await patient.trainer_processes())]
    wrong = [finding for finding in findings if finding is not None]
    if wrong:
        return wrong
    if not root.is_dir():
        fix = f"mkdir -p {root}, or correct watch.dir; the daemon makes it when it starts"
        return [Finding(NAME, Verdict.WARNING, f"{root} does not exist", "there is nothing to save yet", fix)]
    inventory = await patient.inventory()
    if inventory is None:
        fix = "run spotguard as the trainer's user"
        return [Finding(NAME, Verdict.ERROR, f"{root} may not be looked at", "no checkpoint can be seen", fix)]
    if not inventory.checkpoints:
        return [Finding(NAME, Verdict.OK, f"{root} has no checkpoint yet, and {len(inventory.loose)} other files")]
    newest = max(inventory.checkpoints.values(), key=lambda c: c.saved_ns)
    age = max(0.0, time.time() - newest.saved_ns / 1e9)
    layouts = ", ".join(sorted({c.layout for c in inventory.checkpoints.values()}))
    found = f"{root} has {len(inventory.checkpoints)} checkpoints ({layouts}), the newest {newest.name}, written {age / 60:.0f} min ago"
    return [Finding(NAME, Verdict.OK, found)]


def _told_folders(processes: Sequence[TrainerProcess]) -> Iterator[tuple[int, str]]:
    """The folders that the trainer's command line names for its output."""
    for process in processes:
        pid = process.pid
        arguments = read_arguments(pid)
        for at, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            if not equals:
                value = arguments[at + 1] if at + 1 < len(arguments) else ""
            if _FOLDER_OPTION.match(name) and value and "://" not in value:
                yield pid, value


def _elsewhere(pid: int, folder: str, root: str) -> Finding | None:
    """A complaint if the process, as it sees its folders, writes outside of what we watch."""
    try:
        if os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
            return None  # a container: its paths are not ours
        told = os.path.realpath(os.path.join(os.readlink(f"/proc/{pid}/cwd"), folder))
    except OSError:
        return None
    watched = os.path.realpath(root)
    if told == watched or told.startswith(f"{watched}/"):
        return None
    return Finding(NAME, Verdict.ERROR, f"process {pid} writes to {told}, {watched} is what is watched", _WHY, f"set watch.dir to {told}")
