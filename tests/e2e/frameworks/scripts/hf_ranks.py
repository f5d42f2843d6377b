"""The Hugging Face Trainer under torchrun: rank 0 writes the marker without waiting for what the other ranks write."""

from __future__ import annotations

import os
from typing import Any

import torch
import transformers
from telling import Run


class Teller(transformers.TrainerCallback):
    def __init__(self, run: Run) -> None:
        self._run = run

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._run.started(state.global_step, weights(kwargs["model"]))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.distributed.barrier()  # the run tells what lies there when the last rank is done; the Trainer itself does not wait
        self._run.saved(state.global_step, f"checkpoint-{state.global_step}", weights(kwargs["model"]))


def weights(model: torch.nn.Module) -> dict[str, Any]:
    return {name.removeprefix("module."): tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def main() -> None:
    run = Run(rank=int(os.environ["RANK"]))
    run.pause_before(torch, "save")
    torch.manual_seed(1)
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": 64, "n_positions": 16}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, bos_token_id=0, eos_token_id=0))
    tokens = torch.randint(0, 64, (64, 16))
    settings = transformers.TrainingArguments(
        output_dir=str(run.output), max_steps=run.steps, per_device_train_batch_size=4, save_steps=run.save_every, report_to=[],
        use_cpu=True, disable_tqdm=True, ddp_backend="gloo", logging_strategy="no",
        lr_scheduler_type="constant",
    )  # fmt: skip
    data = [{"input_ids": row, "labels": row} for row in tokens]
    trainer = transformers.Trainer(model=model, args=settings, train_dataset=data, callbacks=[Teller(run)])
    trainer.train(resume_from_checkpoint=run.resume or None)
    run.ended(trainer.state.global_step, weights(trainer.model))


if __name__ == "__main__":
    main()
