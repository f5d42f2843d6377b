from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.adapters.telling.service_manager import SystemdNotifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"@spotguard-{os.getpid()}-test" if request.param == "abstract" else str(tmp_path / "notify")
        receiver.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        receiver.settimeout(5)
        yield receiver, name


def test_each_verb_is_one_datagram(listener: tuple[socket.socket, str]) -> None:
    receiver, name = listener
    notifier = SystemdNotifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("draining:\n3 checkpoints")
    notifier.extend_timeout(1.5)
    notifier.watchdog()
    notifier.stopping()
    said = [receiver.recv(4096).decode() for _ in range(5)]
    assert said == ["READY=1", "STATUS=draining: 3 checkpoints", "EXTEND_TIMEOUT_USEC=1500000", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_without_one_who_listens_nothing_happens(environment: dict[str, str]) -> None:
    notifier = SystemdNotifier(environment | {"WATCHDOG_USEC": "nonsense"})
    notifier.ready()
    notifier.status("x")
    notifier.stopping()
    assert notifier.watchdog_seconds is None


def test_a_manager_that_does_not_read_does_not_hold_us_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        notifier = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(2000):
            notifier.status("x" * 1000)


def test_the_watchdog_wants_to_hear_twice_in_its_time_and_only_from_the_process_it_names() -> None:
    here = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}
    assert SystemdNotifier(here).watchdog_seconds == 15.0
    assert SystemdNotifier(here | {"WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 15.0
    assert SystemdNotifier(here | {"WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert SystemdNotifier(here | {"WATCHDOG_USEC": "0"}).watchdog_seconds is None
