"""Numbers as people read them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from spotguard.cli import output
from spotguard.cli.progress import progress_sink
from spotguard.cli.progress_bar import TerminalProgress
from spotguard.ports.progress import SilentProgress


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_960, "1.0 MB"),
        (3_200_000_000, "3.2 GB"),
        (2e18, "2000.0 PB"),
    ],
)
def test_sizes_are_decimal(number: float, text: str) -> None:
    assert output.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (187_200, "2 d 4 h"),
        (-5, "-5 s"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-30, "just now"), (0.5, "just now"), (5, "5 s ago"), (250, "4 min ago"), (8000, "2 h ago"), (200_000, "2 d ago")]
)
def test_ages_are_in_one_unit(seconds: float, text: str) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert output.age(now - timedelta(seconds=seconds), now) == text


def test_plain_text_has_no_control_characters() -> None:
    assert output.plain("ä b\x1b\n") == "ä b\\x1b\\x0a"


def test_there_is_no_bar_in_a_pipe() -> None:
    assert isinstance(progress_sink(as_json=False), SilentProgress)


def test_a_bar_survives_any_order_of_calls() -> None:
    screen = io.StringIO()
    bar = TerminalProgress(Console(file=screen, force_terminal=True, width=100))
    bar.advance(5)
    bar.done()
    bar.start(1000, "uploading [b]x[/b]")
    bar.advance(700)
    bar.advance(-700)
    bar.start(None, "restoring")
    bar.advance(5)
    bar.done()
    bar.done()
    assert "uploading [b]x[/b]" in screen.getvalue()
