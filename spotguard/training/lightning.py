"""For PyTorch Lightning: `Trainer(…, callbacks=[SaveOnNotice()])`. Loads lightning, under whichever of its names the script does."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from spotguard.training.notice_watch import NoticeWatch, Todo

if TYPE_CHECKING:
    Callback = object
elif "lightning" not in sys.modules and "pytorch_lightning" in sys.modules:
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback


class SaveOnNotice(Callback):
    """Saves after the present batch when a notice, a rebalance or SIGTERM comes; goes on after a rebalance, else stops.

    The checkpoint is named as ModelCheckpoint does by default and lies where it puts its own. On all ranks at the same step."""

    def __init__(
        self, place: str | os.PathLike[str] | None = None, *, token: str | None = None, folder: str | os.PathLike[str] | None = None
    ) -> None:
        """`folder`: where to save; else ModelCheckpoint's, else `checkpoints` in the trainer's root. See `NoticeWatch` for the others."""
        super().__init__()
        self._watch = NoticeWatch(place, token=token, catch_sigterm=False)  # Lightning catches it itself
        self._folder = folder

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        todo = self._watch.after_step(Todo.STOP if trainer.received_sigterm else Todo.NOTHING)
        if todo:
            name = f"epoch={trainer.current_epoch}-step={trainer.global_step}.ckpt"
            trainer.save_checkpoint(os.path.join(self._folder_of(trainer), name))
        if todo is Todo.STOP:
            trainer.should_stop = True

    def _folder_of(self, trainer: Any) -> str:
        theirs = getattr(trainer.checkpoint_callback, "dirpath", None)
        return os.fspath(self._folder or theirs or os.path.join(trainer.default_root_dir, "checkpoints"))
