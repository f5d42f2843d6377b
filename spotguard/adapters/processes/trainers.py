"""Which trainer the settings mean."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from spotguard.adapters.processes.asked_trainer import SystemdTrainer
from spotguard.adapters.processes.container_trainer import ContainerTrainer
from spotguard.adapters.processes.process_trainer import PidFileTrainer, ProcessTrainer, RegexTrainer


class TrainerSettings(Protocol):
    """The `trainer` section of the configuration, as far as it says whom to signal: at most one of these."""

    @property
    def pid_file(self) -> Path | None: ...

    @property
    def process(self) -> str | None: ...

    @property
    def systemd_unit(self) -> str | None: ...

    @property
    def docker_container(self) -> str | None: ...

    @property
    def signal(self) -> str | None: ...


def trainer_for(settings: TrainerSettings) -> ProcessTrainer:
    """Raises re.error or ValueError for a value that cannot work; one that names nobody yet is none of these."""
    if settings.pid_file is not None:
        return PidFileTrainer(settings.pid_file)
    if settings.process is not None:
        return RegexTrainer(settings.process)
    if settings.systemd_unit is not None:
        return SystemdTrainer(settings.systemd_unit)
    if settings.docker_container is not None:
        return ContainerTrainer(settings.docker_container, signal_name=settings.signal)
    return ProcessTrainer()
