"""The frameworks that write, and later load, their own checkpoints in these tests.

Not here, and why: Megatron-LM's trainer is not on PyPI (its core is), and NeMo asks for CUDA; torchtitan's trainer asks for an
accelerator, its checkpoints are those of `torch-dcp` under the same names; TRL saves with the Trainer of `transformers`. Their layouts
are tested on trees like theirs (`tests/unit/core`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True, slots=True)
class Framework:
    name: str
    script: str
    layout: str
    """What `auto` must take it for."""
    environment: str = "torch"
    """`torch` or `jax`: which of the environments of `.ci/run` it lives in."""
    ranks: int = 0
    """Processes under torchrun; 0: without it."""
    steps: int = 6
    save_every: int = 2
    variant: str = ""
    """See `--variant` in the script."""
    slow: str = "1:1.2,2:1.2"
    """See `--slow` in scripts/telling.py. Longer than the settle time, unless the first save has no marker and nothing is learned yet."""
    settle_seconds: float = 0.6
    endless: Mapping[str, str] = field(default_factory=dict)
    """Files whose cut cannot be seen (a pattern and the reason). That one is missing or empty must be seen all the same."""
    optional: Mapping[str, str] = field(default_factory=dict)
    """Files that may be missing from a checkpoint that is called whole (a pattern and the reason)."""

    def command(self, python: Path, output: Path, *options: object) -> list[str]:
        one_thread = ["env", "OMP_NUM_THREADS=1"]
        launcher = [python.with_name("torchrun"), "--standalone", "--nproc-per-node", self.ranks] if self.ranks else [python]
        words = [*one_thread, *launcher, SCRIPTS / self.script, "--output", output, "--save-every", self.save_every]
        words += ["--variant", self.variant] if self.variant else []
        return [str(word) for word in (*words, *options)]


UNMARKED = "1:0.3,2:1.8"
"""The first save of a run without a marker can only be told by quiet; from the second on it is known what belongs to it."""

RNG = "no rank waits for the random state of another, and without it training goes on (it is logged), if not with the same numbers"
ALONE = "weights of that name without metadata may be another callback's; BackupAndRestore goes on from them at epoch 0"
MARK = "a text for people: to Orbax only its being there counts"
UNNAMED = "the files of an array store have random names, which stand in compressed nodes; what Orbax renames has them all"

FRAMEWORKS = (
    Framework("transformers", "hf_ranks.py", "hf-trainer", ranks=2, optional={"rng_state_*.pth": RNG}),
    Framework("lightning", "lightning_fit.py", "lightning", variant="copy"),
    Framework("lightning-link", "lightning_fit.py", "lightning", variant="link"),
    Framework("torch-dcp", "dcp_ranks.py", "dcp", ranks=2),
    Framework("deepspeed", "deepspeed_zero.py", "deepspeed", ranks=2, slow=UNMARKED, settle_seconds=1.2),
    Framework("accelerate", "accelerate_loop.py", "accelerate", slow=UNMARKED, settle_seconds=1.2),
    Framework("nanogpt", "nanogpt_loop.py", "single-file"),
    Framework("composer", "composer_trainer.py", "composer"),
    Framework("orbax", "orbax_manager.py", "orbax", environment="jax", endless={"commit_success.txt": MARK}, optional={"d/*": UNNAMED}),
    Framework("xgboost", "xgboost_rounds.py", "xgboost", environment="jax", steps=7),
    Framework("tensorflow", "tf_checkpoint.py", "tf-checkpoint", environment="jax"),
    Framework(
        "keras", "keras_backup.py", "keras-backup", environment="jax", steps=3, save_every=1, optional={"training_metadata.json": ALONE}
    ),
)


def in_environment(name: str) -> tuple[Framework, ...]:
    return tuple(framework for framework in FRAMEWORKS if framework.environment == name)
