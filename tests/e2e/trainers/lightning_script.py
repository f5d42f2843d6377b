"""A tiny module under the real Lightning trainer with our callback."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import lightning
import torch

from spotguard.training.lightning import SaveOnNotice


def tell(**fields: object) -> None:
    os.write(1, json.dumps(fields).encode() + b"\n")  # at once: ranks share the stream


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, index: int) -> Any:
        time.sleep(0.05)
        tell(step=self.trainer.global_step)
        return self.layer(batch).pow(2).mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def on_train_start(self) -> None:
        tell(pid=os.getpid(), begins=self.trainer.global_step)


parser = argparse.ArgumentParser()
parser.add_argument("output")
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--resume")
options = parser.parse_args()
torch.set_num_threads(1)
trainer = lightning.Trainer(
    max_steps=options.steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
    default_root_dir=options.output, callbacks=[SaveOnNotice(folder=options.output)], enable_checkpointing=False,
)  # fmt: skip
trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(8000, 4), batch_size=2), ckpt_path=options.resume, weights_only=False)
tell(ended=trainer.global_step)
