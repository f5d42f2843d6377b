"""A loop with Accelerate's `save_state`: folders numbered by a counter of its own, and no marker in them."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from telling import Run


class Progress:
    """What `register_for_checkpointing` keeps: the step, which Accelerate's folder names do not tell."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]


def main() -> None:
    run = Run()
    run.pause_before(torch, "save")
    torch.manual_seed(1)
    project = ProjectConfiguration(project_dir=str(run.output), automatic_checkpoint_naming=True)
    accelerator = Accelerator(cpu=True, project_config=project)
    model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Linear(64, 16))
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
    progress = Progress()
    accelerator.register_for_checkpointing(progress)
    if run.resume:
        accelerator.load_state()

    def weights() -> dict[str, Any]:
        return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}

    run.started(progress.step, weights())
    while progress.step < run.steps:
        batch = torch.randn(8, 16, generator=torch.Generator().manual_seed(progress.step))
        optimizer.zero_grad()
        accelerator.backward((model(batch) - batch).square().mean())
        optimizer.step()
        scheduler.step()
        progress.step += 1
        if run.is_save_step(progress.step):
            name = f"checkpoints/checkpoint_{project.iteration}"
            accelerator.save_state()
            run.saved(progress.step, name, weights())
    run.ended(progress.step, weights())


if __name__ == "__main__":
    main()
