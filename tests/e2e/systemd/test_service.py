"""The shipped units under a real systemd: started, killed, hung, stopped and interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.systemd.training_machine import OUT, TrainingMachine
from tests.support.systemd_machine import booted, why_not

pytestmark = [pytest.mark.needs_systemd, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[TrainingMachine]:
    with booted(tmp_path / "nspawn.log") as machine:
        yield TrainingMachine(machine)


def test_a_trainer_of_another_user_is_guarded_signalled_and_saved(here: TrainingMachine) -> None:
    m = here.machine
    here.set_up()
    m.run("systemctl start spotguard.service")  # returns when READY=1 was said
    m.run("systemctl start trainer.service")
    m.until("a commit", here.committed)
    assert m.run(f"find {OUT} -name model.safetensors -printf '%m %u\\n' | sort -u") == "600 trainer"
    assert m.run(f"ps -o user= -p {m.main_pid('spotguard')}") == "spotguard"
    held = m.run(f"grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/{m.main_pid('spotguard')}/status").split()
    assert held == ["CapEff:", "0000000000000024", "CapBnd:", "0000000000000024", "NoNewPrivs:", "1", "Seccomp:", "2"]
    trainer = m.main_pid("trainer")
    here.interrupt(60)
    m.until("the verdict", lambda: here.status()["state"] == "safe")
    status = here.status()
    assert status["trainer"]["signalled_at"] is not None
    assert m.main_pid("trainer") != trainer  # it saved and stopped
    newest = m.run(f"ls -t {OUT} | grep checkpoint | head -1")
    assert status["interruption"]["last_committed"] == newest
    assert "safe" in m.show("spotguard", "StatusText")


def test_a_restart_of_the_sidecar_costs_no_training_step(here: TrainingMachine) -> None:
    m = here.machine
    here.set_up()
    m.run("systemctl start spotguard.service trainer.service")
    m.until("the trainer", lambda: m.run(f"ls {OUT}"))
    trainer, daemon = m.main_pid("trainer"), m.main_pid("spotguard")
    m.run("systemctl restart spotguard.service")
    assert m.main_pid("spotguard") not in (0, daemon)
    assert m.main_pid("trainer") == trainer
    m.run("systemctl stop spotguard.service")
    assert m.show("trainer", "ActiveState") == "active"
    assert m.main_pid("trainer") == trainer


@pytest.mark.parametrize(("harm", "seconds"), [("KILL", 20.0), ("STOP", 40.0)])
def test_a_daemon_that_is_killed_or_hangs_is_started_again(here: TrainingMachine, harm: str, seconds: float) -> None:
    m = here.machine
    here.set_up(watchdog="4")
    m.run("systemctl start spotguard.service")
    first = m.main_pid("spotguard")
    m.run(f"kill -{harm} {first}")
    m.until("another process", lambda: m.main_pid("spotguard") not in (0, first), seconds=seconds)
    m.until("ready again", lambda: m.show("spotguard", "ActiveState") == "active")
    if harm == "STOP":
        assert "watchdog" in m.run("journalctl -u spotguard -o cat")
    m.run("systemctl start trainer.service")
    m.until("a commit", here.committed)


def test_a_stop_sends_first_what_the_trainer_saved_when_it_was_stopped(here: TrainingMachine) -> None:
    m = here.machine
    here.set_up()
    m.run("systemctl start spotguard.service trainer.service")
    m.until("a commit", here.committed)
    # A shutdown asks for both at once, this command for one after the other: the order of the units holds from the first job that waits.
    m.run("systemctl stop trainer.service spotguard.service")
    newest = m.run(f"ls -t {OUT} | grep checkpoint | head -1")
    assert here.committed()[0] == newest
    assert m.show("spotguard", "Result") == "success"
    ends = m.run("journalctl -o cat -u trainer -u spotguard | grep -E 'Stopped|Deactivated'", check=False).splitlines()
    assert "trainer" in ends[0].lower()


def test_a_wrong_configuration_is_not_tried_again(here: TrainingMachine) -> None:
    m = here.machine
    here.set_up()
    m.write("/etc/spotguard/config.yaml", "watch: {dirr: /srv}\n")
    m.run("systemctl start spotguard.service", check=False)
    m.until("the end", lambda: m.show("spotguard", "ActiveState") == "failed")
    assert m.show("spotguard", "ExecMainStatus") == "2"
    assert "watch.dirr" in m.run("journalctl -u spotguard -o cat")


def test_the_restore_unit_brings_the_files_back_as_the_trainers_user(here: TrainingMachine) -> None:
    m = here.machine
    here.set_up()
    m.run("systemctl start spotguard-restore.service")  # exit 3, nothing there yet, is a success
    m.run("systemctl start spotguard.service trainer.service")
    m.until("a commit", here.committed)
    m.run("systemctl stop trainer.service spotguard.service")
    newest = here.committed()[0]
    before = m.run(f"cd {OUT}/{newest} && sha256sum *")
    m.run(f"rm -rf {OUT}/* && systemctl restart spotguard-restore.service")
    assert m.run(f"cd {OUT}/{newest} && sha256sum *") == before
    assert m.run(f"find {OUT} -printf '%u\\n' | sort -u") == "trainer"
