"""The demo's servers come up, and go with whoever started them."""

from __future__ import annotations

import http.client
import importlib.util
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from spotguard.demo.daemon_process import free_address
from spotguard.demo.embedded_s3 import EmbeddedS3, MotoMissing
from spotguard.demo.metadata_process import MetadataProcess


def get(url: str, path: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_embedded_s3_has_its_bucket_and_ends_with_its_scope() -> None:
    with EmbeddedS3("bucket") as server:
        process = psutil.Process(server.pid)
        assert get(server.url, "/bucket") == 200
        assert get(server.url, "/another") == 404
    assert not process.is_running()


def test_the_embedded_s3_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(
        textwrap.dedent("""\
            import time
            from spotguard.demo.embedded_s3 import EmbeddedS3
            with EmbeddedS3("bucket") as server:
                print(server.pid, flush=True)
                time.sleep(60)
        """)
    )
    with subprocess.Popen([sys.executable, "-c", script.read_text()], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        server = psutil.Process(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
    psutil.wait_procs([server], timeout=20)
    assert not server.is_running()


def test_without_moto_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MotoMissing, match="moto"), EmbeddedS3("bucket"):
        pass


def test_a_server_that_does_not_come_up_names_itself() -> None:
    with pytest.raises(RuntimeError, match=r"spotguard\.demo\.embedded_s3"), EmbeddedS3("X"):  # no bucket may be called so
        pass


def test_the_metadata_service_interrupts_and_takes_it_back() -> None:
    with MetadataProcess() as service:
        service.interrupt(30)
        assert service.control("GET")["facts"]["instance_action"] is not None
        service.withdraw()
        assert service.control("GET")["facts"]["instance_action"] is None
        with pytest.raises(RuntimeError, match="refused"):
            service.control("POST", {"facts": {"no_such": 1}})


def test_a_taken_port_is_not_given_out() -> None:
    with MetadataProcess() as service:
        taken = int(service.url.rpartition(":")[2])
        assert free_address(taken) != f"127.0.0.1:{taken}"
