"""A tiny GPT-2 under the real Hugging Face Trainer: what a user's script looks like, and nothing of spotguard in it.

Runs in the environment that `SPOTGUARD_HF_PYTHON` names (torch, transformers, accelerate). Deterministic on one machine: one
thread, fixed seeds, no dropout, so an interrupted and resumed run must end with the very bits of one that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

VOCABULARY = 64
LENGTH = 16


class Sentences(Dataset):
    """Token sequences made of a fixed seed: the next token follows from the last one and the sentence's own stride."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(7)
        starts = torch.randint(0, VOCABULARY, (count,), generator=generator)
        strides = torch.randint(1, 5, (count,), generator=generator)
        self._tokens = (starts[:, None] + strides[:, None] * torch.arange(LENGTH)) % VOCABULARY

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self._tokens[index], "labels": self._tokens[index]}


class Teller(TrainerCallback):
    """Says each step on standard output, and makes it last as long as asked."""

    def __init__(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        tell("started", step=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        tell("step", step=state.global_step)
        time.sleep(self._step_seconds)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        tell("saved", step=state.global_step)


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)  # noqa: T201 - a script that talks on standard output


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--save-steps", type=int, default=5)
    parser.add_argument("--save-total-limit", type=int, default=3)
    parser.add_argument("--step-seconds", type=float, default=0.0)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--resume", default=None)
    parser.add_argument("--pid-file", type=Path, default=None)
    return parser.parse_args()


def build_trainer(options: argparse.Namespace) -> Trainer:
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=options.width, n_layer=2, n_head=4,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    settings = TrainingArguments(
        output_dir=str(options.output), max_steps=options.steps, per_device_train_batch_size=4, learning_rate=1e-3, seed=1,
        save_steps=options.save_steps, save_total_limit=options.save_total_limit, enable_jit_checkpoint=True,
        logging_steps=1, report_to=[], use_cpu=True, disable_tqdm=True, dataloader_num_workers=0,
    )  # fmt: skip
    return Trainer(model=model, args=settings, train_dataset=Sentences(512), callbacks=[Teller(options.step_seconds)])


def weights_digest(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    options = arguments()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    trainer = build_trainer(options)
    if options.pid_file:  # after the Trainer installed its SIGTERM handler
        options.pid_file.write_text(str(os.getpid()))
    trainer.train(resume_from_checkpoint=options.resume)
    with torch.no_grad():
        batch = torch.stack([trainer.train_dataset[index]["input_ids"] for index in range(64)])
        loss = trainer.model(input_ids=batch, labels=batch).loss.item()
    tell("ended", step=trainer.state.global_step, loss=loss, weights=weights_digest(trainer.model))


if __name__ == "__main__":
    main()
