from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spotguard.training import Interruption, interruption
from spotguard.training import notice as notice_module


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def notice(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "terminate",
        "drill": False,
        "time": in_seconds(125),
        "deadline": in_seconds(120),
        "detected_at": in_seconds(0),
    } | changes


def write(path: Path, document: object) -> None:
    path.with_suffix(".new").write_text(json.dumps(document))
    path.with_suffix(".new").rename(path)


def test_no_file_is_no_notice(tmp_path: Path) -> None:
    assert interruption(tmp_path / "notice.json") is None
    assert interruption(str(tmp_path / "no" / "such" / "folder")) is None


def test_a_notice_file_tells_kind_deadline_and_seconds_left(tmp_path: Path) -> None:
    path = tmp_path / "notice.json"
    write(path, notice())
    found = interruption(path)
    assert isinstance(found, Interruption)
    assert found.kind == "terminate"
    assert found.seconds_left == pytest.approx(120, abs=2)
    assert found.deadline is not None
    assert found.deadline.tzinfo is UTC


def test_a_changed_notice_is_read_again_and_a_withdrawn_one_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "notice.json"
    write(path, notice())
    assert interruption(path) is not None
    write(path, notice(kind="rebalance", deadline=None))
    assert interruption(path) == Interruption("rebalance", None, None)
    path.unlink()
    assert interruption(path) is None


def test_an_unchanged_file_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notice.json"
    write(path, notice())
    first = interruption(path)
    monkeypatch.setattr(notice_module, "_content", lambda path: pytest.fail("opened"))
    second = interruption(path)
    assert first is not None
    assert second is not None
    assert second.deadline == first.deadline


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"kind": 3, "deadline": "soon"}', '{"deadline": 17}'])
def test_a_file_that_cannot_be_understood_is_a_notice_all_the_same(tmp_path: Path, content: str) -> None:
    (tmp_path / "notice.json").write_text(content)
    assert interruption(tmp_path / "notice.json") == Interruption("unknown", None, None)


def test_a_drill_and_a_notice_long_past_are_none(tmp_path: Path) -> None:
    write(tmp_path / "drill.json", notice(drill=True))
    write(tmp_path / "old.json", notice(deadline=in_seconds(-3600)))
    write(tmp_path / "late.json", notice(deadline=in_seconds(-30)))
    assert interruption(tmp_path / "drill.json") is None
    assert interruption(tmp_path / "old.json") is None
    late = interruption(tmp_path / "late.json")
    assert late is not None
    assert late.seconds_left == pytest.approx(-30, abs=2)


class Daemon:
    """Answers `GET /interruption` as told, and counts."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (404, b"{}")
        self.delay = threading.Event()
        self.delay.set()
        self.asked: list[tuple[str, str | None]] = []
        self.answered = threading.Event()
        daemon = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                daemon.asked.append((self.path, self.headers["Authorization"]))
                daemon.delay.wait(5)
                self.send_response(daemon.answer[0])
                self.end_headers()
                self.wfile.write(daemon.answer[1])
                daemon.answered.set()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.delay.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    daemon = Daemon()
    yield daemon
    daemon.close()


def ask_until(url: str, wanted: bool) -> Interruption | None:
    """Ask as a loop does, until the answer is there."""
    give_up = time.monotonic() + 20
    while ((found := interruption(url)) is None and wanted) or (found is not None and not wanted):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found


def test_an_address_is_asked_past_any_proxy_and_a_notice_is_told_and_taken_back(daemon: Daemon) -> None:
    assert interruption(daemon.url) is None
    daemon.answer = 200, json.dumps(notice()).encode()
    found = ask_until(daemon.url, wanted=True)
    assert found is not None
    assert found.kind == "terminate"
    daemon.answer = 404, b"{}"
    ask_until(daemon.url, wanted=False)
    assert {path for path, _ in daemon.asked} == {"/interruption"}


def test_a_thousand_calls_ask_once_and_cost_nothing(daemon: Daemon) -> None:
    daemon.answer = 200, json.dumps(notice()).encode()
    assert ask_until(f"{daemon.url}/interruption/", wanted=True) is not None
    began, asked = time.perf_counter(), len(daemon.asked)
    for _ in range(1000):
        interruption(f"{daemon.url}/interruption/")
    assert time.perf_counter() - began < 0.9
    assert len(daemon.asked) - asked <= 1


def test_a_daemon_that_hangs_does_not_hold_up_the_loop(daemon: Daemon) -> None:
    daemon.delay.clear()
    began = time.perf_counter()
    for _ in range(10):
        assert interruption(daemon.url, token="secret") is None
    assert time.perf_counter() - began < 0.5
    assert daemon.asked == [("/interruption", "Bearer secret")]
    daemon.delay.set()
    assert daemon.answered.wait(5)


def test_a_notice_stands_while_the_daemon_is_gone() -> None:
    daemon = Daemon()
    daemon.answer = 200, json.dumps(notice()).encode()
    assert ask_until(daemon.url, wanted=True) is not None
    daemon.close()
    time.sleep(1.05)  # so that it asks again, in vain
    assert interruption(daemon.url) is not None
    assert interruption(daemon.url) is not None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://", "http://[::1", "https://127.0.0.1:1", "unix:/no/such", "http://127.0.0.1:x"]
)
def test_nobody_there_is_no_notice(url: str) -> None:
    assert interruption(url) is None


def test_a_daemon_on_a_unix_socket_is_asked(tmp_path: Path) -> None:
    path = os.path.join(tmp_path, "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = json.dumps(notice(kind="stop")).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        thread = threading.Thread(target=serve)
        thread.start()
        found = ask_until(f"unix:{path}", wanted=True)
        thread.join()
    assert found is not None
    assert found.kind == "stop"
