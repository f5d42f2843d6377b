"""What holds for every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, not about the code.
settings.register_profile("spotguard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spotguard")

# A shell starts background jobs with these ignored, and what is ignored stays so in every child: Ctrl-C could not be tested there.
# A handler that does nothing is the same for us, and is no longer there in a child.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


@pytest.fixture(autouse=True)
def _logs_are_set_up_by_nobody_else() -> Iterator[None]:
    """A command that ran within a test sets them up for the whole process: the next test would not see what it captures."""
    yield
    structlog.reset_defaults()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests say by `record_property("measured", …)`: figures for a reader, of which nothing is asserted."""
    passed = terminalreporter.stats.get("passed", ())
    for line in sorted(str(value) for report in passed for name, value in report.user_properties if name == "measured"):
        terminalreporter.write_line(f"measured: {line}")
