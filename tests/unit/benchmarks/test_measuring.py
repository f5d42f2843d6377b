"""The figures are those of the process that is measured, and nobody is credited with bytes that did not move."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import contenders, datasets, measuring, transfer
from benchmarks.endpoint import Programs, build, serving
from benchmarks.transfer import Load, Workshop

_BURN = "import time\nwhile time.process_time() < {seconds}: pass"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    try:
        return build(tmp_path_factory.mktemp("programs"))
    except subprocess.CalledProcessError:
        pytest.skip("OpenSSL's headers are missing")


@pytest.fixture
def shop(programs: Programs, tmp_path: Path) -> Workshop:
    return Workshop(tmp_path, tmp_path, programs, (tmp_path, tmp_path), rounds=1)


def test_the_cpu_is_that_of_the_command_and_its_children(programs: Programs) -> None:
    inner = _BURN.format(seconds=0.2)
    command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"]

    measured = measuring.run(programs.spend, command, 10**9, os.environ)

    assert 0.2 <= measured.cpu_seconds < measured.seconds * 2
    assert measured.figures()["cpu_per_gb"] == pytest.approx(measured.cpu_seconds)


def test_the_peak_is_that_of_the_command_and_not_of_who_started_it(programs: Programs) -> None:
    ballast = bytearray(os.urandom(64 << 20))

    small = measuring.run(programs.spend, ["true"], 1, os.environ)
    large = measuring.run(programs.spend, [sys.executable, "-c", f"bytearray(b'x' * {len(ballast)})"], 1, os.environ)

    assert small.peak_mib < 8
    assert large.peak_mib > 64


def test_a_command_that_fails_is_no_measurement(programs: Programs) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: no such bucket"):
        measuring.run(programs.spend, ["sh", "-c", "echo no such bucket >&2; exit 3"], 1, os.environ)


def test_a_living_process_is_read_as_the_kernel_counts_it() -> None:
    code = "import threading\ndef burn():\n import time\n while time.thread_time() < 0.1: pass\n"
    code += "thread = threading.Thread(target=burn); thread.start(); thread.join()"  # it has ended, and counts nevertheless
    code += "\nkept = b'x' * (32 << 20)\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        fine, coarse = measuring.cpu_seconds_fine(process.pid), measuring.cpu_seconds(process.pid)
        resident, peak = measuring.resident_mib(process.pid), measuring.peak_mib(process.pid)
        process.kill()

    assert fine >= 0.1
    assert abs(fine - coarse) < 0.05
    assert 32 < resident <= peak < 128


def test_a_tool_that_sends_nothing_is_refused(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "upload", lambda *_: ["true"])
    taken: list[str] = []

    with pytest.raises(RuntimeError, match="s5cmd: the endpoint has 0 of"):
        transfer.upload(shop, lambda contender, _: taken.append(contender), load=Load(datasets.tiny, ("s5cmd",)))

    assert taken == []


def test_bytes_that_arrived_are_counted(shop: Workshop) -> None:
    taken: list[str] = []

    transfer.upload(shop, lambda contender, _: taken.append(contender), load=Load(datasets.tiny, ("sendfile",)))

    assert taken == ["sendfile"]


def test_the_endpoint_counts_what_it_sends(shop: Workshop) -> None:
    with serving(shop.sink, keeps_in=shop.scratch / "bucket") as endpoint:
        connection = endpoint.connect()
        connection.request("PUT", "/bench/run/a%26b", b"x" * 1000)
        connection.getresponse().read()
        endpoint.reset()
        connection.request("GET", "/bench/run/a%26b", headers={"Range": "bytes=100-299"})

        assert len(connection.getresponse().read()) == 200
        assert endpoint.stats()["sent_bytes"] == 200
        assert endpoint.keys("run/") == ["run/a&b"]
        assert endpoint.stored_bytes("run/") == 1000
        connection.close()


@pytest.mark.parametrize("change", ["other content", "a file less", "a file more"])
def test_a_restore_that_brings_something_else_is_noticed(tmp_path: Path, change: str) -> None:
    kept, brought = tmp_path / "kept", tmp_path / "brought"
    for folder in (kept, brought):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "weights").write_bytes(b"12345")
    assert transfer.same_content(kept, brought)

    if change == "other content":
        (brought / "sub" / "weights").write_bytes(b"12340")
    elif change == "a file less":
        (brought / "sub" / "weights").unlink()
    else:
        (brought / "more").touch()

    assert not transfer.same_content(kept, brought)
