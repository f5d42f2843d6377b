from __future__ import annotations

import pytest

from spotguard.core.world_size import mismatch, processes_started


@pytest.mark.parametrize(
    ("command", "environ", "ranks"),
    [
        ("torchrun --nproc_per_node=4 train.py", {}, 4),
        ("python -m torch.distributed.run --nnodes 2 --nproc-per-node 8 train.py", {}, 16),
        ("torchrun --nproc_per_node=gpu train.py", {}, None),
        ("deepspeed --num_gpus 8 train.py", {}, 8),
        ("accelerate launch --num_processes 6 train.py", {}, 6),
        ("mpirun -np 3 python train.py", {}, 3),
        ("python train.py -n 5", {}, None),
        ("python train.py", {"WORLD_SIZE": "2"}, 2),
        ("python train.py", {"SLURM_NTASKS": "12"}, 12),
        ("python train.py", {"WORLD_SIZE": "many"}, None),
        ("torchrun --nproc_per_node", {}, None),
        ("", {}, None),
    ],
)
def test_how_many_ranks_a_command_starts(command: str, environ: dict[str, str], ranks: int | None) -> None:
    assert processes_started(command.split(), environ) == ranks


def test_another_number_of_ranks_is_told_and_an_unknown_one_is_not() -> None:
    assert mismatch("checkpoint-5", 4, 4) is mismatch("checkpoint-5", None, 4) is mismatch("checkpoint-5", 4, None) is None
    assert "written by 4 ranks and 8 are to go on" in (mismatch("checkpoint-5", 4, 8) or "")
