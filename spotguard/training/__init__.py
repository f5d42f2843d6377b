"""What a training script may call. Imports nothing but the standard library, and none of it needs a daemon.

Callbacks for frameworks are in modules of their own, which load the framework: `spotguard.training.hf`, `spotguard.training.lightning`.
For a loop of one's own there is `NoticeWatch`. What they are made of can also be used by itself.

A loop that saves its own checkpoints, goes on where it was, and saves once more when the machine is about to go
(`trainer.notice_file: /run/spotguard/notice.json` in the configuration, or the daemon's address in its place):

```python
import os
import sys

from spotguard.training import get_latest_checkpoint, interruption, load_training_state, save_training_state

out, notice = sys.argv[1], sys.argv[2]


def save(step, weights):
    save_training_state(out, {"step": step})
    folder = os.path.join(out, f"step-{step}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "weights.bin"), "wb") as file:
        file.write(weights)


weights, step = b"\\0", 0
if checkpoint := get_latest_checkpoint(out):
    with open(os.path.join(checkpoint, "weights.bin"), "rb") as file:
        weights = file.read()
    step = len(weights) - 1
    print("resuming", os.path.basename(checkpoint), "state", load_training_state(out))

while step < 100:
    weights, step = weights + b"\\1", step + 1  # one step of training
    notice_now = interruption(notice)
    if notice_now or step % 10 == 0:
        save(step, weights)
    if notice_now and notice_now.kind != "rebalance":
        print("saved step", step, "before", notice_now.kind)
        break
```
"""

from spotguard.training.latest import get_latest_checkpoint
from spotguard.training.notice import Interruption, interruption
from spotguard.training.notice_watch import NoticeWatch, Todo
from spotguard.training.state_file import DamagedState, load_training_state, save_training_state

__all__ = [
    "DamagedState",
    "Interruption",
    "NoticeWatch",
    "Todo",
    "get_latest_checkpoint",
    "interruption",
    "load_training_state",
    "save_training_state",
]
