"""MosaicML Composer's Trainer: a file per save and rank, and a link `latest-rank0.pt` to the newest, made when it is whole.

Composer asks for torchvision (for its image algorithms only), which does not load beside a CPU build of torch from PyPI: an empty
stand-in takes its place here. What saves and loads is Composer's own.
"""

from __future__ import annotations

import importlib.machinery
import sys
from typing import Any
from unittest.mock import MagicMock

_PARTS = ("", ".transforms", ".transforms.functional", ".datasets", ".models", ".models.resnet", ".ops", ".utils")
for _name in (f"torchvision{part}" for part in _PARTS):
    sys.modules[_name] = MagicMock(__spec__=importlib.machinery.ModuleSpec(_name, None), __path__=[])

import composer  # noqa: E402
import torch  # noqa: E402
from telling import Run  # noqa: E402


class Model(composer.ComposerModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Linear(64, 16))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.net(batch)

    def loss(self, outputs: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        return (outputs - batch).square().mean()


class Teller(composer.Callback):
    """Checkpoints are saved after all other callbacks of a batch, so a save is over when the next batch begins, or all ends."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._told: set[int] = set()

    def fit_start(self, state: Any, logger: Any) -> None:
        self._told.add(int(state.timestamp.batch))
        self._run.started(int(state.timestamp.batch), weights(state.model))

    def batch_start(self, state: Any, logger: Any) -> None:
        self.tell(state)

    def tell(self, state: Any) -> None:
        step = int(state.timestamp.batch)
        if step not in self._told and self._run.is_save_step(step):
            self._told.add(step)
            file = (self._run.output / "latest-rank0.pt").resolve().name
            self._run.saved(step, file.removesuffix("-rank0.pt"), weights(state.model), members=[file])


def weights(model: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def main() -> None:
    run = Run()
    run.pause_before(torch, "save")
    composer.utils.reproducibility.seed_all(1)
    model, teller = Model(), Teller(run)
    trainer = composer.Trainer(
        model=model, optimizers=torch.optim.AdamW(model.parameters()), max_duration=f"{run.steps}ba", device="cpu",
        train_dataloader=torch.utils.data.DataLoader(torch.randn(64, 16), batch_size=8),
        save_folder=str(run.output), save_interval=f"{run.save_every}ba", callbacks=[teller], progress_bar=False,
        load_path=str(run.output / "latest-rank0.pt") if run.resume else None,
    )  # fmt: skip
    trainer.fit()
    teller.tell(trainer.state)
    run.ended(int(trainer.state.timestamp.batch), weights(trainer.state.model))


if __name__ == "__main__":
    main()
