"""A tiny model under the real Hugging Face Trainer, alone or with several ranks; `--callback` or, without it, JIT checkpoints."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments


class Tokens(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4000

    def __getitem__(self, index: int) -> dict[str, Any]:
        tokens = (torch.arange(8) + index) % 32
        return {"input_ids": tokens, "labels": tokens}


def tell(**fields: object) -> None:
    os.write(1, json.dumps({"rank": int(os.environ.get("RANK", "0")), **fields}).encode() + b"\n")  # at once: ranks share the stream


class Teller(TrainerCallback):
    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        tell(pid=os.getpid(), begins=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        time.sleep(0.05)
        tell(step=state.global_step)


parser = argparse.ArgumentParser()
parser.add_argument("output")
parser.add_argument("--callback", action="store_true")
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--resume")
options = parser.parse_args()

torch.set_num_threads(1)
callbacks = [Teller()]
if options.callback:
    from spotguard.training.hf import SaveOnNotice

    callbacks.append(SaveOnNotice())
trainer = Trainer(
    model=GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)),
    args=TrainingArguments(
        output_dir=options.output, max_steps=options.steps, per_device_train_batch_size=2, save_steps=1000, report_to=[], use_cpu=True,
        disable_tqdm=True, enable_jit_checkpoint=not options.callback, dataloader_num_workers=options.workers, logging_steps=10_000,
    ),
    train_dataset=Tokens(),
    callbacks=callbacks,
)  # fmt: skip
trainer.train(resume_from_checkpoint=options.resume)
tell(ended=trainer.state.global_step)
