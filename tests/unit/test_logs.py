"""Log lines that a machine can read, from any thread, whatever happens to the stream."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from spotguard.logs import configure_logging


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    configure_logging("info", "json")
    root.removeHandler(root.handlers[-1])
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_json_with_the_time_in_utc() -> None:
    stream = io.StringIO()
    configure_logging("info", "auto", stream=stream)
    structlog.get_logger().info("checkpoint.committed", size_bytes=5, name="ä")
    [line] = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "size_bytes", "name"]
    assert (line["level"], line["event"], line["size_bytes"], line["name"]) == ("info", "checkpoint.committed", 5, "ä")
    assert str(line["timestamp"]).endswith("Z")


def test_a_terminal_gets_a_readable_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    configure_logging("info", "auto", stream=stream)
    structlog.get_logger().info("checkpoint.committed", size_bytes=5)
    assert "checkpoint.committed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    configure_logging("warning", "json", stream=stream)
    structlog.get_logger().info("a.b")
    structlog.get_logger().warning("c.d")
    assert [line["event"] for line in lines(stream)] == ["c.d"]


def test_an_exception_is_one_line() -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    try:
        raise ValueError("x")
    except ValueError:
        structlog.get_logger().exception("drain.failed")
        logging.getLogger("aiohttp").exception("library said %s", "y")
    ours, theirs = lines(stream)
    assert "ValueError: x" in str(ours["exception"])
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("library said y", "aiohttp", "error")
    assert "ValueError: x" in str(theirs["exception"])


def test_libraries_are_heard_from_warning_on_even_at_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with monkeypatch.context() as alone:
        alone.setattr(logging.getLogger(), "handlers", [])  # pytest's own handler raises where ours must not
        configure_logging("debug", "json", stream=stream)
        configure_logging("debug", "json", stream=stream)
        logging.getLogger("botocore").debug("Authorization: secret")
        logging.getLogger("botocore").warning("slow %d", 3)
        logging.getLogger("botocore").warning("slow %d", "broken")
    assert [line["event"] for line in lines(stream)] == ["slow 3", "log.unreadable"]


def test_a_value_that_cannot_be_written_does_not_lose_the_line() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    stream = io.StringIO()
    configure_logging("info", "json", stream=stream)
    loop: list[object] = []
    loop.append(loop)
    structlog.get_logger().info("a.b", hostile=Hostile(), loop=loop)
    [line] = lines(stream)
    assert line["hostile"] == "<Hostile>"


def test_a_stream_that_is_gone_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    for stream in (Gone(), io.StringIO()):
        stream.close() if type(stream) is io.StringIO else None
        configure_logging("info", "json", stream=stream)
        structlog.get_logger().info("a.b")
    configure_logging("info", "json")
    monkeypatch.setattr(sys, "stderr", None)
    structlog.get_logger().info("a.b")


def test_lines_of_many_threads_do_not_mix() -> None:
    class Halting(io.StringIO):
        def write(self, text: str, /) -> int:
            """In two halves, with room for another thread between them."""
            written = super().write(text[: len(text) // 2])
            threading.Event().wait(0.0001)
            return written + super().write(text[len(text) // 2 :])

    stream = Halting()
    configure_logging("info", "json", stream=stream)

    def chatter(number: int) -> None:
        for turn in range(20):
            structlog.get_logger().info("a.b", number=number, turn=turn, padding="x" * 500)

    threads = [threading.Thread(target=chatter, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 160
