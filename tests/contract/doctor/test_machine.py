"""What the doctor says of this machine: trainer, metadata service, files, disk."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from spotguard.assembly.doctor import disk, examination, inotify
from spotguard.assembly.doctor.trainer import _of_process, catches
from spotguard.cli.main import cli
from spotguard.core.diagnosis import Verdict
from spotguard.demo.metadata_process import MetadataProcess
from spotguard.ports.trainer import TrainerProcess
from tests.contract.doctor.conftest import Doctor
from tests.e2e.world import write_checkpoint
from tests.support.real_processes import RealProcesses
from tests.support.servers import free_port

CATCHES = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: None)
print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture
def silent_service() -> Iterator[int]:
    """Accepts connections and never answers: what a hop limit that is too low looks like."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()


def test_a_hop_limit_is_told_from_a_dead_network(doctor: Doctor, silent_service: int) -> None:
    imds = {"imds__mode": "required"}
    silent = doctor("metadata-service", **imds, imds__endpoint=f"http://127.0.0.1:{silent_service}").one("metadata-service")
    dead = doctor("metadata-service", **imds, imds__endpoint=f"http://127.0.0.1:{free_port()}").one("metadata-service")
    assert silent["verdict"] == dead["verdict"] == "error"
    assert "hop limit" in silent["found"]
    assert "--http-put-response-hop-limit 2" in silent["fix"]
    assert "hop limit" not in dead["found"] + dead["fix"]


def test_a_metadata_service_that_answers_says_who_we_are_and_where_the_bucket_should_be(doctor: Doctor, tmp_path: Path) -> None:
    with MetadataProcess(log=tmp_path / "imds.log") as service:
        visit = doctor("metadata-service", "region", imds__mode="required", imds__endpoint=service.url)
    assert visit.one("metadata-service")["verdict"] == "ok"
    assert "spot" in visit.one("metadata-service")["found"]
    assert visit.one("region")["verdict"] in ("ok", "warning")


def test_a_trainer_that_catches_the_signal_is_found(doctor: Doctor, processes: RealProcesses) -> None:
    process, _ = processes.python(processes.script("my_train.py", CATCHES))
    finding = doctor("trainer", trainer__process="my_train[.]py", trainer__signal="SIGUSR1").one("trainer")
    assert finding["verdict"] == "ok"
    assert f"process {process.pid} " in finding["found"]
    assert catches(process.pid, "SIGUSR1") is True
    assert catches(process.pid, "SIGUSR2") is False


def test_a_trainer_that_would_die_of_the_signal_is_a_warning(doctor: Doctor, processes: RealProcesses) -> None:
    processes.python(processes.script("my_train.py", CATCHES))
    finding = doctor("trainer", trainer__process="my_train[.]py", trainer__signal="SIGUSR2").one("trainer")
    assert finding["verdict"] == "warning"
    assert "does not catch SIGUSR2" in finding["found"]
    assert "save nothing" in finding["why"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_trainer_of_another_user_may_not_be_signalled(processes: RealProcesses, tmp_path: Path) -> None:
    process, _ = processes.python(processes.script("my_train.py", CATCHES))
    child = os.fork()
    if child == 0:  # as nobody, without capabilities; says what it sees by its status
        os.setgroups([])
        os.setuid(65534)
        found = _of_process(TrainerProcess(process.pid, 0.0, "python my_train.py"), "SIGUSR1")
        os._exit(0 if found.verdict is Verdict.ERROR and "CAP_KILL" in found.fix else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_trainer_found_and_none_named_are_warnings_that_say_what_to_set(doctor: Doctor) -> None:
    assert "trainer.recipe" in doctor("trainer").one("trainer")["fix"]
    later = doctor("trainer", trainer__recipe="hf-trainer").one("trainer")
    assert (later["verdict"], "`spotguard run` will send SIGTERM" in later["found"]) == ("skipped", True)
    finding = doctor("trainer", trainer__process="no such trainer anywhere", trainer__signal="SIGUSR1").one("trainer")
    assert (finding["verdict"], finding["found"]) == ("warning", "no process is found")


def test_a_trainer_that_writes_elsewhere_is_an_error(doctor: Doctor, processes: RealProcesses, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    processes.python(processes.script("my_train.py", CATCHES), "--output_dir", elsewhere)
    [finding] = doctor("watch-folder", trainer__process="my_train[.]py", trainer__signal="SIGUSR1").of("watch-folder")
    assert finding["verdict"] == "error"
    assert finding["fix"] == f"set watch.dir to {elsewhere}"


def test_a_trainer_that_writes_below_the_watched_folder_is_right(doctor: Doctor, processes: RealProcesses, tmp_path: Path) -> None:
    processes.python(processes.script("my_train.py", CATCHES), f"--output-dir={tmp_path}/out/sft")
    assert doctor("watch-folder", trainer__process="my_train[.]py", trainer__signal="SIGUSR1").one("watch-folder")["verdict"] == "ok"


@pytest.mark.parametrize(("variable", "verdict"), [(None, "warning"), ("20", "warning"), ("600", "ok")])
def test_the_time_that_torchrun_gives_its_workers(
    variable: str | None, verdict: str, doctor: Doctor, processes: RealProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", variable)
    worker = processes.script("my_train.py", CATCHES)
    agent = processes.script("torchrun", "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))")
    processes.python(agent, worker)
    finding = doctor("torchrun", trainer__process=r"python\S* \S*/my_train[.]py$", trainer__signal="SIGUSR1").one("torchrun")
    assert finding["verdict"] == verdict
    assert f"{variable or '30'} s" in finding["found"]
    assert verdict == "ok" or "TORCH_ELASTIC_SHUTDOWN_TIMEOUT=115" in finding["fix"]


def test_files_that_cannot_be_stored_are_named(doctor: Doctor, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "checkpoint-5"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"x" * 100)
    (folder / "tokenizer.json").symlink_to("/etc/hostname")
    finding = doctor("readable").one("readable")
    assert finding["verdict"] == "error"
    assert "tokenizer.json" in finding["found"]
    assert "watch.follow_links" in finding["fix"]


def test_the_newest_checkpoint_is_held_against_the_notice_and_the_disk(doctor: Doctor, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "out", 100, 200_000, random.Random(1))
    visit = doctor("throughput", "disk", "watch-folder")
    assert "of the 115 s that a notice leaves" in visit.one("throughput")["found"]
    assert "room for a checkpoint of" in visit.one("disk")["found"]
    assert "checkpoint-100" in visit.one("watch-folder")["found"]


async def test_a_disk_that_is_too_small_for_a_restore_is_a_warning(tmp_path: Path) -> None:
    async def huge() -> int:
        return 1 << 60

    patient: Any = SimpleNamespace(config=SimpleNamespace(watch=SimpleNamespace(dir=tmp_path / "not" / "there")), newest_bytes=huge)
    [finding] = await disk.examine(patient)
    assert finding.verdict is Verdict.WARNING
    assert str(tmp_path) in finding.found


async def test_an_exhausted_inotify_names_the_sysctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "no inotify watch is left for this user: raise it with `sysctl fs.inotify.max_user_watches=524288`"
    monkeypatch.setattr(inotify, "refusal", lambda path: reason)
    patient: Any = SimpleNamespace(config=SimpleNamespace(watch=SimpleNamespace(dir=tmp_path, rescan_seconds=30.0)))
    [finding] = await inotify.examine(patient)
    assert finding.verdict is Verdict.WARNING
    assert "max_user_watches=524288" in finding.fix


async def test_a_check_that_hangs_or_breaks_keeps_no_other_from_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_: Any) -> Any:
        await asyncio.sleep(3600)

    async def breaks(_: Any) -> Any:
        raise RuntimeError("boom")

    async def answers(_: Any) -> Any:
        return [examination.Finding("c", Verdict.OK, "fine")]

    monkeypatch.setattr(examination, "CHECKS", {"a": hangs, "b": breaks, "c": answers})
    patient: Any = None
    found = await examination.examine_all(patient, limit_seconds=0.05)
    assert [(f.check, f.verdict) for f in found] == [("a", Verdict.WARNING), ("b", Verdict.ERROR), ("c", Verdict.OK)]


def test_an_unknown_check_to_skip_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--dir", "x", "--url", "s3://b/p", "--skip", "nonsense"])
    assert result.exit_code == 2
    assert "one of credentials, bucket" in result.stderr
