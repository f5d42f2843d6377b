"""Sending a signal to one very process, never to a later one with the same number."""

from __future__ import annotations

import os
import pwd
import signal

from spotguard.adapters.processes.process_table import same_process_runs
from spotguard.ports.trainer import CannotSignal, TrainerGone, TrainerProcess


def send_signal(process: TrainerProcess, signal_name: str) -> None:
    """Send `SIGUSR1`, … Raises TrainerGone, CannotSignal.

    The descriptor pins the process before its start time is compared, so nobody else can get the signal. Where the kernel gives
    no descriptor (seccomp of old container engines, descriptors used up) the time between comparing and sending is microseconds."""
    number = _number(signal_name)
    descriptor = _pin(process)
    try:
        if not same_process_runs(process):
            raise TrainerGone(f"process {process.pid} ({process.command}) has ended")
        if descriptor is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError as error:
        raise TrainerGone(f"process {process.pid} ({process.command}) has ended") from error
    except PermissionError as error:
        raise CannotSignal(
            f"{signal_name} to process {process.pid} ({process.command}) of user {_owner(process.pid)} is not permitted "
            f"to user {_user_name(os.geteuid())}",
            f"run spotguard as the user {_owner(process.pid)}, or give it the capability CAP_KILL "
            "(systemd: AmbientCapabilities=CAP_KILL; docker: --cap-add KILL)",
        ) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _number(signal_name: str) -> signal.Signals:
    try:
        return signal.Signals[signal_name]
    except KeyError:
        raise CannotSignal(f"there is no signal {signal_name!r}", "name one as `kill -l` does, with SIG: SIGUSR1, SIGTERM") from None


def _pin(process: TrainerProcess) -> int | None:
    try:
        return os.pidfd_open(process.pid)
    except ProcessLookupError as error:
        raise TrainerGone(f"process {process.pid} ({process.command}) has ended") from error
    except OSError:
        return None


def _owner(pid: int) -> str:
    try:
        return _user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "unknown"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
