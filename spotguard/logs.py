"""Log lines on standard error: one JSON object per line, or a readable line on a terminal. Times are UTC.

Safe from any thread: a line is one write under a lock, and a stream that is gone (a closed pipe, a full disk) never raises into
whoever logs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Literal


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """As if the module were not installed (None in `sys.modules` says so to imports), unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # what the import system takes for absent
    try:
        yield
    finally:
        del sys.modules[name]


with _absent("rich"):  # structlog would load it for tracebacks in colour: a tenth of what a command needs to start
    import structlog
    from structlog.types import EventDict, Processor

LogFormat = Literal["auto", "console", "json"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LineWriter:
    """Writes whole lines to a stream, from any thread, without ever raising."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write_line(self, line: str) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        with self._lock:
            try:
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError, AttributeError):
                # Nobody can read it (pipe closed, disk full, no standard error at all); what was to be logged goes on.
                return

    msg = log = debug = info = warn = warning = error = critical = fatal = exception = failure = err = write_line


class _LineHandler(logging.Handler):
    """Takes what libraries log by the standard module into the same stream."""

    def __init__(self, writer: LineWriter, render: Processor) -> None:
        super().__init__()
        self._writer = writer
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: EventDict = {"event": record.getMessage(), "logger": record.name, "level": record.levelname.lower()}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            for processor in (_timestamp, structlog.processors.format_exc_info):
                event = processor(None, record.levelname.lower(), event)
            self._writer.write_line(str(self._render(None, record.levelname.lower(), event)))
        except Exception:  # noqa: BLE001 - a library's broken log line must not end what it logs about
            self._writer.write_line(f'{{"event": "log.unreadable", "logger": {json.dumps(record.name)}}}')


_timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp")


def configure_logging(level: str = "info", format: LogFormat = "auto", *, stream: IO[str] | None = None) -> None:  # noqa: A002 - the key's name
    """From now on all loggers write to `stream` (default: standard error) in this format, what is below `level` nowhere.

    May be called again; the last call counts. Libraries are heard from `warning` on, because their debug lines hold credentials."""
    writer = LineWriter(stream)
    terminal = _is_terminal(stream if stream is not None else sys.stderr)
    render = _console(terminal) if format == "console" or (format == "auto" and terminal) else _Json()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _timestamp,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LineHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LineHandler(writer, render))
    root.setLevel(max(_LEVELS[level], logging.WARNING))


class _Json:
    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        ordered = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event} | dict(event)
        try:
            return json.dumps(ordered, default=str)
        except Exception:  # noqa: BLE001 - a value whose text cannot be had (a loop, a failing __str__) must not lose the line
            return json.dumps({key: _harmless(value) for key, value in ordered.items()})


def _harmless(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - see _Json
        return f"<{type(value).__name__}>"


def _console(terminal: bool) -> Processor:
    colours = terminal and not os.environ.get("NO_COLOR")
    return structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=28)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
