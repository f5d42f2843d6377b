"""`trainer.recipe` sets the signal, and for a launcher the target; what is given wins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spotguard.config.errors import ConfigError
from spotguard.config.sources import require_target
from spotguard.core.recipes import RECIPES
from tests.unit.config.loading import BOTH, load


def test_a_recipe_sets_signal_and_target_and_says_so(tmp_path: Path) -> None:
    loaded = load(tmp_path, BOTH + "trainer:\n  recipe: torchrun\n")
    assert loaded.config.trainer.signal == "SIGTERM"
    assert loaded.config.trainer.process == RECIPES["torchrun"].process
    assert str(loaded.provenance["trainer.signal"]) == str(loaded.provenance["trainer.process"]) == "recipe:torchrun"
    require_target(loaded)


def test_keys_that_are_given_win(tmp_path: Path) -> None:
    loaded = load(tmp_path, BOTH + "trainer:\n  recipe: torchrun\n  signal: USR1\n  pid_file: a.pid\n")
    trainer = loaded.config.trainer
    assert (trainer.signal, trainer.process, trainer.targets) == ("SIGUSR1", None, ("pid_file",))
    assert str(loaded.provenance["trainer.process"]) == "default"
    option = load(tmp_path, BOTH + "trainer:\n  signal: USR1\n", options=[("trainer.recipe", "hf-trainer")])
    assert option.config.trainer.signal == "SIGUSR1"


def test_a_recipe_without_a_target_needs_one_beside_a_daemon(tmp_path: Path) -> None:
    loaded = load(tmp_path, BOTH, options=[("trainer.recipe", "hf-trainer")])
    with pytest.raises(ConfigError, match=r'trainer.signal = "SIGTERM" \(recipe hf-trainer\): a signal needs a target'):
        require_target(loaded)
    require_target(load(tmp_path, BOTH, options=[("trainer.recipe", "plain")]))


@pytest.mark.parametrize(
    ("recipe", "command"),
    [
        ("torchrun", "/venv/bin/python3 /venv/bin/torchrun --nproc-per-node 2 train.py"),
        ("torchrun", "python -m torch.distributed.run train.py"),
        ("accelerate", "python /venv/bin/accelerate launch train.py"),
        ("accelerate", "python /venv/bin/accelerate-launch train.py"),
        ("deepspeed", "/usr/bin/python /usr/local/bin/deepspeed --num_gpus 8 train.py"),
        ("deepspeed", "python -u -m deepspeed.launcher.launch train.py"),
    ],
)
def test_the_target_of_a_launcher_is_its_command_line(recipe: str, command: str) -> None:
    pattern = RECIPES[recipe].process
    assert pattern is not None
    assert re.search(pattern, command)
    assert not re.search(pattern, "python -u train.py --deepspeed ds.json --output accelerated")
