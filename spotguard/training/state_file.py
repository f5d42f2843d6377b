"""The training state: what a script wants to know again and its framework does not keep."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

STATE_FILE = "training_state.json"
_MOST_BYTES = 64 * 1024
"""What is larger is not kept with each checkpoint (docs/storage-format.md, companions)."""


class DamagedState(ValueError):
    """There is a training state, but it cannot be understood. `str()` names the file and what is wrong with it."""


def save_training_state(folder: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write `state` as `training_state.json` into `folder`, which is made if it is missing.

    Give the folder that the checkpoints lie in and call it before the checkpoint is saved: each checkpoint is stored, and comes back,
    with the state as it was when the checkpoint became whole. On return the file is on disk; whoever reads it, at any moment and
    after any crash, sees the old state or the new one. Raises TypeError for what JSON does not know (call `.item()` on a NumPy or
    torch number), before anything is touched, and OSError."""
    content = json.dumps(dict(state), ensure_ascii=False, indent=1).encode() + b"\n"
    if len(content) > _MOST_BYTES:
        warnings.warn(
            f"the training state has {len(content)} bytes; above {_MOST_BYTES} it is not stored with each checkpoint", stacklevel=2
        )
    path = os.path.join(folder, STATE_FILE)
    os.makedirs(folder, exist_ok=True)
    # Several ranks may save at once. The name ends in .tmp, which is never uploaded.
    temporary = os.path.join(folder, f".{STATE_FILE}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def load_training_state(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save_training_state` wrote last into this folder; empty when there is none, as at a fresh start.

    Raises DamagedState for a file that is no JSON object: a script that took that for a fresh start would begin again at step 0. Raises
    OSError when it may not be read."""
    path = os.path.join(folder, STATE_FILE)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    try:
        state = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedState(f"{path} is damaged ({error}); restore it, or remove it to start without a state") from error
    if not isinstance(state, dict):
        raise DamagedState(f"{path} holds {type(state).__name__} and no object; restore it, or remove it to start without a state")
    return state


def _sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the rename itself outlive a crash; filesystems that cannot do without."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
