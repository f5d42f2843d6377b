"""One answer for all ranks: whoever leaves the loop a step before the others leaves them waiting for ever."""

from __future__ import annotations

import os
import sys
from typing import Any

_group: tuple[int, Any] | None = None
"""The process that made it, and the group: on the CPU, so that no step waits for the GPU."""


def highest_of_all_ranks(value: int) -> int:
    """The largest of the ranks' values; the value itself where torch.distributed is not in use. All ranks must call it."""
    distributed = sys.modules.get("torch.distributed")  # whoever uses it has loaded it
    if distributed is None or not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() < 2:
        return value
    import torch

    tensor = torch.tensor([value], dtype=torch.int32)
    distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX, group=_cpu_group(distributed))
    return int(tensor.item())


def _cpu_group(distributed: Any) -> Any:
    global _group
    if _group is None or _group[0] != os.getpid():
        _group = os.getpid(), distributed.new_group(backend="gloo")
    return _group[1]
