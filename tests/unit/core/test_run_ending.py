"""With which status, and which words, `spotguard run` ends."""

from __future__ import annotations

import os
import signal

import pytest

from spotguard.core.run_ending import RunEnd, command_status


@pytest.mark.parametrize(
    ("command", "interrupted", "guard", "status", "strict"),
    [
        (0, False, 0, 0, 0),
        (0, False, 6, 0, 6),
        (0, False, 7, 7, 7),
        (0, False, None, 0, 6),
        (0, True, 0, 75, 75),
        (0, True, 6, 75, 6),
        (0, True, 7, 7, 7),
        (143, True, 0, 75, 75),
        (1, True, None, 75, 6),
        (1, False, 0, 1, 1),
        (137, False, 7, 137, 137),
        (75, False, 6, 75, 75),
    ],
)
def test_the_status_of_every_end(command: int, interrupted: bool, guard: int | None, status: int, strict: int) -> None:
    end = RunEnd(command, interrupted, guard)
    assert (end.status(strict=False), end.status(strict=True)) == (status, strict)


def test_what_is_not_saved_is_named_and_never_called_saved() -> None:
    lines = RunEnd(0, True, 6, (("checkpoint-7", "denied"),), "checkpoint-5").lines()
    assert lines == ["not saved: checkpoint-7: denied"]
    for guard in (6, 7, None):
        assert not any(line.startswith("interrupted") for line in RunEnd(0, True, guard, (), "checkpoint-5").lines())
    assert RunEnd(0, True, 0, (), "checkpoint-5").lines() == ["interrupted; the newest checkpoint is checkpoint-5: start again to go on"]
    assert RunEnd(0, False, 0, (), None).lines() == ["no checkpoint was ever committed in this run: check watch.dir"]
    assert RunEnd(0, False, 0, (), "checkpoint-5").lines() == []


def test_a_wait_status_is_told_as_shells_tell_it() -> None:
    assert command_status(3 << 8) == 3
    assert command_status(signal.SIGKILL) == 137
    assert command_status(signal.SIGSEGV | 0x80) == 139
    pid = os.posix_spawnp("sh", ["sh", "-c", "kill -USR1 $$"], {"PATH": os.environ["PATH"]})
    assert command_status(os.waitpid(pid, 0)[1]) == 128 + signal.SIGUSR1
