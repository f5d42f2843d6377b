"""Asking systemd for the trainer's number."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from spotguard.adapters.processes import asked_trainer
from spotguard.adapters.processes.asked_trainer import AskedTrainer, SystemdTrainer
from spotguard.adapters.processes.container_trainer import ContainerTrainer
from spotguard.adapters.processes.process_trainer import PidFileTrainer, ProcessTrainer, RegexTrainer
from spotguard.adapters.processes.trainers import trainer_for
from tests.support.real_processes import TRAINER, RealProcesses


@pytest.mark.parametrize("name", ["", "--version", "a b", "../x", "x;y", "a/b.service", "a" * 300])
def test_what_is_no_name_of_a_unit_or_container_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        SystemdTrainer(name)
    with pytest.raises(ValueError, match="no name"):
        ContainerTrainer(name)


@pytest.mark.parametrize("command", ["echo hello", "echo 0", "echo", "exit 4", "echo 1", "echo $PPID", "echo 4194304"])
async def test_an_answer_that_names_no_process_or_ours_is_nobody(command: str) -> None:
    assert list(await AskedTrainer("sh", "-c", command).find()) == []


async def test_a_manager_that_is_not_installed_is_nobody() -> None:
    assert list(await AskedTrainer("/nowhere/systemctl").find()) == []


async def test_a_manager_that_hangs_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_trainer, "ANSWER_SECONDS", 0.2)
    assert list(await AskedTrainer("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60").find()) == []
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_a_main_process_that_lives_is_not_asked_for_again(processes: RealProcesses) -> None:
    process, _ = processes.python(processes.script("train_me.py", TRAINER), "x")
    asked = processes.folder / "asked"
    trainer = AskedTrainer("sh", "-c", f"echo >> {asked}; echo {process.pid}")
    for _ in range(3):
        assert [found.pid for found in await trainer.find()] == [process.pid]
    assert asked.read_text() == "\n"
    process.kill()
    process.wait()
    assert list(await trainer.find()) == []
    assert asked.read_text() == "\n\n"


class Settings:
    def __init__(self, **given: object) -> None:
        self.pid_file: Path | None = given.get("pid_file")  # type: ignore[assignment]
        self.process: str | None = given.get("process")  # type: ignore[assignment]
        self.systemd_unit: str | None = given.get("systemd_unit")  # type: ignore[assignment]
        self.signal: str | None = None
        self.docker_container: str | None = given.get("docker_container")  # type: ignore[assignment]


def test_the_settings_say_which_kind_it_is() -> None:
    assert type(trainer_for(Settings(pid_file=Path("/run/x.pid")))) is PidFileTrainer
    assert type(trainer_for(Settings(process="train"))) is RegexTrainer
    assert type(trainer_for(Settings(systemd_unit="train.service"))) is SystemdTrainer
    assert type(trainer_for(Settings(docker_container="train"))) is ContainerTrainer


async def test_without_a_setting_there_is_nobody_to_signal() -> None:
    trainer = trainer_for(Settings())
    assert type(trainer) is ProcessTrainer
    assert not trainer.configured
    assert list(await trainer.find()) == []


def running_systemd() -> bool:
    if shutil.which("systemctl") is None or not os.path.isdir("/run/systemd/system"):
        return False
    return subprocess.run(["systemctl", "is-system-running"], capture_output=True, check=False).returncode in {0, 1}


@pytest.mark.needs_systemd
@pytest.mark.skipif(not running_systemd(), reason="no systemd runs on this machine")
async def test_a_real_unit_is_found_by_its_main_process() -> None:
    unit = f"spotguard-test-{os.getpid()}.service"
    subprocess.run(["systemd-run", "--quiet", f"--unit={unit}", "sleep", "60"], check=True)
    try:
        (found,) = await SystemdTrainer(unit).find()
        assert found.command.endswith("sleep 60")
    finally:
        subprocess.run(["systemctl", "stop", unit], check=True)
    assert list(await SystemdTrainer(unit).find()) == []
