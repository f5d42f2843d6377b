"""What a loop is told after each step."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spotguard.training import NoticeWatch, Todo
from spotguard.training.notice import Interruption
from spotguard.training.notice_watch import wanted_by


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


class Notices:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = 0

    def say(self, kind: str) -> None:
        self._writes += 1
        self.path.write_text(json.dumps({"kind": kind, "deadline": None, "n": "x" * self._writes}))  # another size: another file

    def withdraw(self) -> None:
        self.path.unlink()


@pytest.fixture
def notices(tmp_path: Path) -> Notices:
    return Notices(tmp_path / "notice.json")


def test_each_thing_is_said_once_for_a_notice(notices: Notices) -> None:
    watch = NoticeWatch(notices.path)
    assert [watch.after_step() for _ in range(3)] == [Todo.NOTHING] * 3
    notices.say("rebalance")
    assert [watch.after_step() for _ in range(3)] == [Todo.SAVE, Todo.NOTHING, Todo.NOTHING]
    notices.say("terminate")
    assert [watch.after_step() for _ in range(3)] == [Todo.STOP, Todo.NOTHING, Todo.NOTHING]


def test_the_next_rebalance_asks_again_when_the_first_was_withdrawn(notices: Notices) -> None:
    watch = NoticeWatch(notices.path)
    for _ in range(2):
        notices.say("rebalance")
        assert [watch.after_step(), watch.after_step()] == [Todo.SAVE, Todo.NOTHING]
        notices.withdraw()
        assert watch.after_step() is Todo.NOTHING


def test_sigterm_counts_as_a_notice_and_the_second_one_ends_the_script(notices: Notices) -> None:
    watch = NoticeWatch(notices.path)
    os.kill(os.getpid(), signal.SIGTERM)
    assert [watch.after_step(), watch.after_step()] == [Todo.STOP, Todo.NOTHING]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_the_script_is_left_alone(notices: Notices) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    NoticeWatch(notices.path)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    NoticeWatch(notices.path, catch_sigterm=False)
    thread = threading.Thread(target=lambda: NoticeWatch(notices.path))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("kind", "seconds", "todo"),
    [
        ("terminate", 100.0, Todo.STOP),
        ("stop", 100.0, Todo.STOP),
        ("scale-in", 100.0, Todo.STOP),
        ("unknown", None, Todo.STOP),
        ("maintenance", 3600.0, Todo.NOTHING),
        ("maintenance", 90.0, Todo.STOP),
        ("rebalance", None, Todo.SAVE),
        ("hibernate", 20.0, Todo.SAVE),
    ],
)
def test_what_each_kind_asks_for(kind: str, seconds: float | None, todo: Todo) -> None:
    deadline = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    assert wanted_by(Interruption(kind, deadline, seconds)) is todo


def test_where_it_looks_is_what_run_says(notices: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTGUARD_NOTICE", str(notices.path))
    watch = NoticeWatch()
    notices.say("stop")
    assert watch.after_step() is Todo.STOP
