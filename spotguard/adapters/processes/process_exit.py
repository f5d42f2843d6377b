"""How processes that are not our children ended.

Since Linux 6.15 a process descriptor tells the status of a process that has ended (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`,
include/uapi/linux/pidfd.h); before, only /proc of a zombie does, for as long as its parent has not asked for it.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from collections import OrderedDict

from spotguard.adapters.processes.process_table import read_stat, started
from spotguard.ports.trainer import TrainerProcess

_INFO = struct.Struct("=QQ12I")
"""struct pidfd_info, version 0: mask, cgroup, eleven process and user numbers, wait status."""
_INFO_EXIT = 1 << 3
_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11

_MOST_DESCRIPTORS = 64
_MOST_ANSWERS = 1000


class ExitWatch:
    """Descriptors of processes that run, and the answers for those that have ended. One thread at a time."""

    def __init__(self) -> None:
        self._descriptors: OrderedDict[tuple[int, float], int] = OrderedDict()
        self._answers: OrderedDict[tuple[int, float], bool] = OrderedDict()

    def watch(self, process: TrainerProcess) -> None:
        """From now on the end of this process will be seen; nothing happens if it is watched, or has ended."""
        identity = process.pid, process.started
        if identity in self._descriptors or identity in self._answers:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            return
        stat = read_stat(process.pid)
        if stat is None or started(stat) != process.started:
            os.close(descriptor)
            return
        self._descriptors[identity] = descriptor
        if len(self._descriptors) > _MOST_DESCRIPTORS:
            os.close(self._descriptors.popitem(last=False)[1])

    def exited_badly(self, process: TrainerProcess) -> bool | None:
        """None while it runs, False for status 0, True for any other end and for one that was not seen."""
        identity = process.pid, process.started
        if identity in self._answers:
            return self._answers[identity]
        self.watch(process)
        descriptor = self._descriptors.get(identity)
        if descriptor is None:
            return None if _runs(process) else self._answer(identity, True)
        if not _has_ended(descriptor):
            return None
        status = _reaped_status(descriptor)
        if status is None:
            status = _zombie_status(process)
        os.close(self._descriptors.pop(identity))
        return self._answer(identity, status != 0)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _answer(self, identity: tuple[int, float], badly: bool) -> bool:
        self._answers[identity] = badly
        if len(self._answers) > _MOST_ANSWERS:
            self._answers.popitem(last=False)
        return badly


def _runs(process: TrainerProcess) -> bool:
    stat = read_stat(process.pid)
    return stat is not None and not stat.ended and started(stat) == process.started


def _has_ended(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _zombie_status(process: TrainerProcess) -> int | None:
    """The wait status while its parent has not asked for it; None when it has, or when the kernel would show us 0 in its place."""
    stat = read_stat(process.pid)
    if stat is None or not stat.ended or started(stat) != process.started or not _may_know_of(process.pid):
        return None
    return stat.exit_code


def _may_know_of(pid: int) -> bool:
    try:
        return os.geteuid() in {0, os.stat(f"/proc/{pid}").st_uid}
    except OSError:
        return False


def _reaped_status(descriptor: int) -> int | None:
    """The wait status; None where the kernel does not tell."""
    try:
        answer = fcntl.ioctl(descriptor, _GET_INFO, _INFO.pack(_INFO_EXIT, *(0,) * 13))
    except OSError:
        return None
    fields = _INFO.unpack(answer)
    return fields[-1] if fields[0] & _INFO_EXIT else None
