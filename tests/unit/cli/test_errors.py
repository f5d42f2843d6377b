"""Every failure is one line and a status."""

from __future__ import annotations

import errno

import click
import pytest

from spotguard.cli.errors import CommandFailed, failure_of
from spotguard.config.errors import ConfigError
from spotguard.core.exit_status import ExitStatus
from spotguard.ports.daemon_control import DaemonRefused, NoDaemon
from spotguard.ports.object_store import BucketMissing, ObjectMissing, StoreDenied, StoreRejected, StoreUnavailable


class OddlyDamaged(Exception):
    exit_status = 4
    fix = "restore an older one"


CASES = [
    (ConfigError(["a: wrong", "b: wrong"]), ("a: wrong", "b: wrong"), 2),
    (StoreDenied("s3://b/p: PutObject denied", "grant it"), ("s3://b/p: PutObject denied; grant it",), 5),
    (StoreUnavailable("no answer"), ("no answer",), 5),
    (BucketMissing("s3://b does not exist"), ("s3://b does not exist",), 5),
    (StoreRejected("not implemented"), ("not implemented",), 1),
    (ObjectMissing("k is gone"), ("k is gone",), 1),
    (NoDaemon("nobody at x", "start it"), ("nobody at x; start it",), 5),
    (DaemonRefused("wrong token", 401), ("wrong token; give the daemon's token: set http.token or SPOTGUARD_HTTP__TOKEN",), 5),
    (CommandFailed("no", "do", ExitStatus.NOTHING_TO_RESTORE), ("no; do",), 3),
    (OddlyDamaged("it is\n  damaged"), ("it is damaged; restore an older one",), 4),
    (
        OSError(errno.ENOSPC, "No space left on device", "/data/x"),
        ("No space left on device: /data/x; free some space and run the same command again",),
        1,
    ),
    (KeyboardInterrupt(), (), 130),
    (click.Abort(), (), 130),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), (), 141),
    (click.UsageError("No such option: --x."), ("No such option: --x; see 'spotguard --help'",), 2),
    (ZeroDivisionError("x"), ("an unexpected ZeroDivisionError: x; run it again with -v (or SPOTGUARD_DEBUG=1) to see where",), 1),
    (ExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("more", [StoreDenied("denied")])]), ("denied",), 5),
    (BaseExceptionGroup("tasks", [StoreDenied("denied"), KeyboardInterrupt()]), (), 130),
]


@pytest.mark.parametrize(("error", "lines", "status"), CASES, ids=[type(error).__name__ for error, _, _ in CASES])
def test_a_failure_is_one_line_and_a_status(error: BaseException, lines: tuple[str, ...], status: int) -> None:
    failure = failure_of(error)
    assert (failure.lines, failure.status) == (lines, status)
    assert failure.expected is not isinstance(error, ZeroDivisionError)


def test_the_statuses_are_the_contract() -> None:
    assert {int(status) for status in ExitStatus} == {0, 1, 2, 3, 4, 5, 6, 7, 75, 125, 130, 141}
