"""The real process: what it loads, what it prints where, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spotguard import __version__
from tests.unit.cli.served_status import served, status

ROOT = Path(__file__).parents[3]
SPOTGUARD = [sys.executable, "-m", "spotguard"]
HEAVY = {"boto3", "botocore", "awscrt", "watchdog", "psutil"}


def environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SPOTGUARD_", "AWS_"))}
    return own | {"PYTHONPATH": str(ROOT)} | more


def run(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SPOTGUARD, *arguments], capture_output=True, text=True, cwd=cwd, env=environment(**more), timeout=30, check=False
    )


def loaded_by(arguments: list[str], cwd: Path) -> set[str]:
    """The top-level packages that a call loads."""
    out = str(cwd / "m")
    code = f"import sys\nfrom spotguard.__main__ import main\ntry:\n  main()\nfinally:\n  print(*sys.modules, file=open({out!r}, 'w'))"
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, env=environment(), capture_output=True, timeout=30, check=False)
    return {name.partition(".")[0] for name in (cwd / "m").read_text().split()}


def test_the_version(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"spotguard {__version__}\n")


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_by(["--help"], tmp_path) & (HEAVY | {"pydantic", "aiohttp", "rich", "yaml", "structlog"})


def test_status_does_not_load_the_data_path(tmp_path: Path) -> None:
    with served(status()) as address:
        found = loaded_by(["status", "--set", f"http.listen={address}"], tmp_path)
    assert "aiohttp" in found
    assert not found & HEAVY


def test_a_bad_configuration_is_one_line_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "spotguard.yaml").write_text("watch:\n  dir: out\ndestination:\n  url: http://x\n")
    done = run("config", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f'spotguard: destination.url = "http://x" ({tmp_path}/spotguard.yaml line 4): must be of the form s3://bucket/prefix\n'
    )


def test_a_reader_that_goes_away_is_no_noise(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*SPOTGUARD, "config", "--dir", "x", "--url", "s3://b/p"],
            stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(), timeout=30, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_ends_a_watch_quietly(tmp_path: Path) -> None:
    with served(status()) as address:
        watching = subprocess.Popen(
            [*SPOTGUARD, "status", "--watch", "--set", f"http.listen={address}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(),
        )  # fmt: skip
        with watching:
            assert watching.stdout is not None
            assert " OK: nothing waits to be saved" in watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (130, "")


def test_a_path_that_cannot_be_shown_is_escaped_not_fatal(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9-\xc3\xa9")
    for language in ("C", "C.UTF-8"):
        done = run("config", "--dir", odd, "--url", "s3://b/p", cwd=tmp_path, LC_ALL=language, PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
        assert done.returncode == 0, done.stderr
        assert "caf" in done.stdout


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream_is_no_crash(tmp_path: Path, stream: str) -> None:
    number = {"stdout": 1, "stderr": 2}[stream]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {number}>&-', "sh", *SPOTGUARD, "config", "--dir", "x", "--url", "s3://b/p"],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=30, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
