"""For the Hugging Face Trainer (and TRL): `Trainer(…, callbacks=[SaveOnNotice()])`. Loads transformers."""

from __future__ import annotations

import os
from typing import Any

from transformers import TrainerCallback

from spotguard.training.notice_watch import NoticeWatch, Todo


class SaveOnNotice(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Saves at the next step boundary when a notice or a rebalance comes; goes on after a rebalance, stops after a notice.

    On all ranks at the same step, be it only one that heard of it. SIGTERM counts as a notice, so `enable_jit_checkpoint` is not needed."""

    def __init__(self, place: str | os.PathLike[str] | None = None, *, token: str | None = None) -> None:
        """See `NoticeWatch`."""
        self._watch = NoticeWatch(place, token=token)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        todo = self._watch.after_step()
        if todo:
            control.should_save = True
        if todo is Todo.STOP:
            control.should_training_stop = True
        return control
