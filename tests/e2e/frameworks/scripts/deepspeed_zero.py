"""DeepSpeed with ZeRO over the ranks: shards of each rank in `global_stepN`, and the pointer file `latest` beside it."""

from __future__ import annotations

import importlib
import os
from typing import Any

import deepspeed
import torch
from telling import Run

CONFIGURATION = {
    "train_micro_batch_size_per_gpu": 8,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
    "zero_allow_untested_optimizer": True,
}


def main() -> None:
    run = Run(rank=int(os.environ["RANK"]))
    run.pause_before(torch, "save")
    backend = importlib.import_module("deepspeed.comm.torch")
    backend.build_shm_op = lambda: None  # a C++ extension for CPUs that takes a minute and a half to build
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Linear(64, 16))
    deepspeed.init_distributed("gloo")
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=CONFIGURATION)
    if run.resume:
        assert engine.load_checkpoint(str(run.output))[0], "DeepSpeed found nothing to load"

    def weights() -> dict[str, Any]:
        return {name: tensor.detach().numpy() for name, tensor in engine.module.state_dict().items()}

    run.started(engine.global_steps, weights())
    while engine.global_steps < run.steps:
        batch = torch.randn(8, 16, generator=torch.Generator().manual_seed(engine.global_steps))
        engine.backward((engine(batch) - batch).square().mean())
        engine.step()
        if run.is_save_step(engine.global_steps):
            engine.save_checkpoint(str(run.output))
            run.saved(engine.global_steps, f"global_step{engine.global_steps}", weights())
            torch.distributed.barrier()
    run.ended(engine.global_steps, weights())
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()  # else a rank that ends first may leave the other waiting


if __name__ == "__main__":
    main()
