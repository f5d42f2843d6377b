"""What an operator reads first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from spotguard.cli.status_view import status_view
from spotguard.core.checkpoint import CheckpointState
from spotguard.core.headline import headline
from spotguard.core.notice import NoticeKind
from spotguard.core.problem import Severity
from spotguard.core.status import BacklogStatus, DaemonState, ExposureStatus, GivenUp, InterruptionStatus, Status
from tests.unit.cli.served_status import NOW, checkpoint, problem, status


def notice(seconds_left: float = 40, **changes: object) -> InterruptionStatus:
    deadline = NOW + timedelta(seconds=seconds_left)
    return InterruptionStatus(NoticeKind.TERMINATE, False, deadline, NOW - timedelta(seconds=75), deadline, **changes)  # type: ignore[arg-type]


TO_SEND = BacklogStatus(checkpoints=1, bytes=3_200_000_000, eta_seconds=30)

CASES: list[tuple[Status, str, str]] = [
    (status(), "good", "OK: nothing waits to be saved; last commit 12 s ago"),
    (status(backlog=TO_SEND), "good", "OK: 1 checkpoint to save (3.2 GB, about 30 s); last commit 12 s ago"),
    (status(problems=(problem(),)), "bad", "AT RISK: the store denies PutObject"),
    (status(problems=(problem(), problem())), "bad", "AT RISK: the store denies PutObject (and 1 more problem)"),
    (status(problems=(problem(Severity.WARNING),)), "caution", "OK, WITH WARNINGS: nothing waits to be saved; last commit 12 s ago"),
    (status(checkpoints=(), exposure=ExposureStatus()), "caution", "NOTHING SAVED YET: no checkpoint was seen under /data"),
    (
        status(checkpoints=(checkpoint(state=CheckpointState.WRITING),), exposure=ExposureStatus()),
        "caution",
        "NOTHING SAVED YET: sft/checkpoint-100 is being written",
    ),
    (
        status(exposure=ExposureStatus(seconds_since_last_commit=300, fits_in_notice=False)),
        "caution",
        "AT RISK: a checkpoint would not fit between a notice and its deadline; last commit 5 min ago",
    ),
    (
        status(checkpoints=(checkpoint(), checkpoint(state=CheckpointState.FAILED, why="a link leads out"))),
        "caution",
        "NOT ALL SAVED: sft/checkpoint-100 failed: a link leads out; last commit 12 s ago",
    ),
    (
        status(DaemonState.DRAINING, interruption=notice(), backlog=TO_SEND),
        "caution",
        "DRAINING: 40 s left; 1 checkpoint to save (3.2 GB, about 30 s)",
    ),
    (
        status(DaemonState.DRAINING, interruption=notice(20), backlog=TO_SEND),
        "bad",
        "DRAINING: 20 s left; 1 checkpoint to save (3.2 GB, about 30 s)",
    ),
    (status(DaemonState.DRAINING, interruption=notice(-3)), "bad", "DRAINING: 3 s past the deadline; nothing waits to be saved"),
    (
        status(DaemonState.SAFE, interruption=notice(verdict="safe", last_committed="sft/checkpoint-100")),
        "good",
        "SAFE: all is saved up to sft/checkpoint-100; this machine may go",
    ),
    (
        status(DaemonState.UNSAFE, interruption=notice(verdict="unsafe", given_up=(GivenUp("sft/checkpoint-200", "too large"),))),
        "bad",
        "UNSAFE: not all is saved: sft/checkpoint-200 (too large)",
    ),
    *(
        (
            status(state, interruption=replace(notice(verdict=verdict), drill=True)),
            "caution",
            "DRILL: an interruption is rehearsed; nothing waits to be saved",
        )
        for state, verdict in ((DaemonState.DRAINING, None), (DaemonState.SAFE, "safe"), (DaemonState.UNSAFE, "unsafe"))
    ),
    (status(DaemonState.STOPPING), "caution", "STOPPING: the daemon ends; nothing waits to be saved"),
    (status(DaemonState.FENCED), "bad", "FENCED: another daemon writes this run; nothing of this machine is saved any more"),
]


@pytest.mark.parametrize(("shown", "level", "line"), CASES, ids=[line[:30] for _, _, line in CASES])
def test_the_first_line_says_whether_the_run_is_safe(shown: Status, level: str, line: str) -> None:
    found = headline(shown, NOW)
    assert (found.level, f"{found.word}: {found.sentence}") == (level, line)


def printed(shown: Status) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed below
    with console.file:
        console.print(status_view(shown, NOW, boxed=False))
        return console.export_text()


def test_the_view_shows_problems_with_their_fix_and_the_countdown() -> None:
    text = printed(status(DaemonState.DRAINING, interruption=notice(), problems=(problem(),)))
    assert text.splitlines()[0].startswith(" DRAINING  40 s left")
    assert "error store-denied (3 min ago): the store denies PutObject" in text
    assert "fix: grant s3:PutObject" in text
    assert "interruption: terminate, seen 1 min ago, deadline in 40 s" in text
    assert "/data -> s3://my-bucket/run" in text
    assert "sft/checkpoint-100" in text
    assert "50 %" in text


def test_a_hostile_name_cannot_write_on_the_terminal() -> None:
    text = printed(status(checkpoints=(checkpoint("a\x1b[2J[red]b\nc"),)))
    assert "\x1b" not in text
    assert "a\\x1b[2J[red]b\\x0ac" in text


def test_the_newest_come_first_and_a_long_list_is_cut() -> None:
    many = tuple(checkpoint(f"c-{i}", step=i, saved_at=NOW - timedelta(hours=100 - i)) for i in range(20))
    text = printed(status(checkpoints=many))
    assert text.index("c-19") < text.index("c-8")
    assert "c-7 " not in text
    assert "and 8 older on disk" in text
