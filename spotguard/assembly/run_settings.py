"""What `spotguard run` adds to the configuration, and gives to the command."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from spotguard.adapters.processes.signal_journal import journal_path
from spotguard.config.models import Config
from spotguard.config.provenance import LoadedConfig

NOTICE_VARIABLE = "SPOTGUARD_NOTICE"
"""Where `spotguard.training` looks for a notice."""


def run_config(loaded: LoadedConfig) -> Config:
    """The configuration with a notice file in any case, so that a training script need not be told where to look for one, and without
    the target of a recipe: the command itself is known better than any pattern could tell."""
    trainer, changes = loaded.config.trainer, dict[str, object]()
    if trainer.notice_file is None:
        changes["notice_file"] = own_notice_file()
    for target in trainer.targets:
        if loaded.provenance[f"trainer.{target}"].kind == "recipe":
            changes[target] = None
    return loaded.config.model_copy(update={"trainer": trainer.model_copy(update=changes)})


def own_notice_file() -> Path:
    """The one that we use where none is configured; it goes with us."""
    return journal_path(os.environ).parent / f"notice-{os.getpid()}.json"


def trainer_environment(config: Config) -> Mapping[str, str]:
    """Variables of the command that it would not have otherwise. torchrun and `accelerate launch` kill their ranks 30 s after a SIGTERM
    unless this variable says otherwise (torch/distributed/launcher/api.py)."""
    grace = math.ceil(config.interruption.shutdown_grace_seconds)
    return {NOTICE_VARIABLE: str(config.trainer.notice_file), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(grace)}
