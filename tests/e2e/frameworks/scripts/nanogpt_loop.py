"""A loop like nanoGPT's: one file, always the same name, `torch.save` straight onto it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from telling import Run


class SlowFile:
    """The checkpoint's file, with a pause in the middle of a slow save: cut off at half of its bytes, it lies there for a while."""

    def __init__(self, path: Path, run: Run) -> None:
        self._file = path.open("wb")
        self._run = run
        self._writes = 0

    def write(self, chunk: Any) -> int:
        self._writes += 1
        if self._writes % 10 == 5:
            self._file.flush()
            self._run.pause()
        return self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def main() -> None:
    run = Run()
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.Linear(64, 16))
    optimizer = torch.optim.AdamW(model.parameters())
    path = run.output / "ckpt.pt"
    step = 0
    if run.resume:
        checkpoint = torch.load(path, weights_only=True)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        step = checkpoint["iter_num"]

    def weights() -> dict[str, Any]:
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    run.started(step, weights())
    while step < run.steps:
        batch = torch.randn(8, 16, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(batch) - batch).square().mean().backward()
        optimizer.step()
        step += 1
        if run.is_save_step(step):
            file = SlowFile(path, run)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "iter_num": step}, file)
            file.close()
            run.saved(step, "ckpt.pt", weights())
    run.ended(step, weights())


if __name__ == "__main__":
    main()
