"""The Lightning Trainer with a ModelCheckpoint: a file per save, and `last.ckpt`.

Variant `link`: `last.ckpt` is a link to the newest, and the training goes on with `ckpt_path="last"`. Variant `copy`: it is a second save,
a checkpoint of its own, and the training goes on from the file that is given to it."""

from __future__ import annotations

import os
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from telling import Run


class Model(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Linear(64, 16))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return (self.net(batch) - batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters())


class Teller(lightning.Callback):
    """Checkpoints are saved after all other callbacks of a step, so a save is over when the next step begins, or all ends."""

    def __init__(self, run: Run, checkpoints: ModelCheckpoint) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._told: set[int] = set()

    def on_train_start(self, trainer: Any, model: Any) -> None:
        self._told.add(trainer.global_step)
        self._run.started(trainer.global_step, weights(model))

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, index: int) -> None:
        self._tell(trainer, model)

    def on_train_end(self, trainer: Any, model: Any) -> None:
        self._tell(trainer, model)
        self._run.ended(trainer.global_step, weights(model))

    def _tell(self, trainer: Any, model: Any) -> None:
        step = trainer.global_step
        if step not in self._told and self._run.is_save_step(step):
            self._told.add(step)
            name = os.path.relpath(self._checkpoints.best_model_path, self._run.output)
            self._run.saved(step, name, weights(model), beside=[] if self._run.variant == "link" else ["last.ckpt"])


def weights(model: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def main() -> None:
    run = Run()
    run.pause_before(torch, "save")
    lightning.seed_everything(1, verbose=False)
    checkpoints = ModelCheckpoint(
        run.output, every_n_train_steps=run.save_every, save_top_k=-1, save_last="link" if run.variant == "link" else True
    )
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_steps=run.steps, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Teller(run, checkpoints), checkpoints],
    )  # fmt: skip
    batches = torch.utils.data.DataLoader(torch.randn(64, 16), batch_size=8)
    newest = "last" if run.variant == "link" else next(run.output.glob("*.ckpt"), None)  # only one is restored
    trainer.fit(Model(), batches, ckpt_path=newest if run.resume else None)


if __name__ == "__main__":
    main()
