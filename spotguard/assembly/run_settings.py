"""What `spotguard run` adds to the configuration, and gives to the command."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from spotguard.adapters.signal_journal import journal_path
from spotguard.config.models import Config

NOTICE_VARIABLE = "SPOTGUARD_NOTICE"
"""Where `spotguard.training` looks for a notice."""


def run_config(config: Config) -> Config:
    """The configuration with a notice file in any case, so that a training script need not be told where to look for one."""
    if config.trainer.notice_file is not None:
        return config
    place = Path(journal_path(os.environ).parent) / f"notice-{os.getpid()}.json"
    place.unlink(missing_ok=True)  # of a process that had our number and was killed
    return config.model_copy(update={"trainer": config.trainer.model_copy(update={"notice_file": place})})


def trainer_environment(config: Config) -> Mapping[str, str]:
    """Variables of the command that it would not have otherwise. torchrun and `accelerate launch` kill their ranks 30 s after a SIGTERM
    unless this variable says otherwise (torch/distributed/launcher/api.py)."""
    grace = math.ceil(config.interruption.shutdown_grace_seconds)
    return {NOTICE_VARIABLE: str(config.trainer.notice_file), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(grace)}
