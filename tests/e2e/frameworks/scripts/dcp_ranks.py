"""`torch.distributed.checkpoint` under torchrun, as torchtitan uses it: a model sharded by FSDP over the ranks, one folder per step."""

from __future__ import annotations

import os
import re
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from telling import Run
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard


def newest(run: Run) -> int:
    steps = [path.parent.name for path in run.output.glob("step-*/.metadata")]
    return max(int(re.sub("[^0-9]", "", name)) for name in steps)


def main() -> None:
    run = Run(rank=int(os.environ["RANK"]))
    dist.init_process_group("gloo")
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Linear(64, 16))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters())

    def weights() -> dict[str, Any]:
        whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        return {name: tensor.numpy() for name, tensor in whole.items()}

    def state(step: int) -> dict[str, Any]:
        of_model, of_optimizer = get_state_dict(model, optimizer)
        return {"model": of_model, "optimizer": of_optimizer, "step": torch.tensor(step)}

    step = 0
    if run.resume:
        loaded = state(0)
        dcp.load(loaded, checkpoint_id=run.output / f"step-{newest(run)}")
        set_state_dict(model, optimizer, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"])
        step = int(loaded["step"])
    run.started(step, weights())
    while step < run.steps:
        batch = torch.randn(8, 16, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(batch) - batch).square().mean().backward()
        optimizer.step()
        step += 1
        if run.is_save_step(step):
            dcp.save(state(step), checkpoint_id=run.output / f"step-{step}")
            run.saved(step, f"step-{step}", weights())
            dist.barrier()
    run.ended(step, weights())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
