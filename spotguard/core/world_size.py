"""How many processes wrote a checkpoint and how many are to go on from it: what is kept per rank does not fit another number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PER_NODE = re.compile(r"^--?(nproc[-_]per[-_]node|num_gpus)$")
"""torchrun, deepspeed."""
_NODES = re.compile(r"^--?(nnodes|num_nodes)$")
_IN_ALL = re.compile(r"^--?(num[-_]processes|np|n|ntasks)$")
"""accelerate launch, mpirun, srun."""
_LAUNCHERS_OF_ALL = re.compile(r"(^|/)(accelerate|mpirun|mpiexec|srun|horovodrun)$")


def processes_started(command: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """How many ranks a command starts, as far as its options or the environment (`WORLD_SIZE`, `SLURM_NTASKS`) tell."""
    per_node = _option(command, _PER_NODE)
    if per_node is not None:
        return per_node * (_option(command, _NODES) or 1)
    if any(_LAUNCHERS_OF_ALL.search(word) for word in command) and (in_all := _option(command, _IN_ALL)) is not None:
        return in_all
    for variable in ("WORLD_SIZE", "SLURM_NTASKS"):
        if environ.get(variable, "").isdecimal():
            return int(environ[variable])
    return None


def mismatch(name: str, wrote: int | None, starts: int | None) -> str | None:
    """What to say when another number of ranks is to go on; None when the numbers agree or one is unknown."""
    if wrote is None or starts is None or wrote == starts:
        return None
    return (
        f"{name} was written by {wrote} ranks and {starts} are to go on from it: torch.distributed.checkpoint fits itself to that, "
        f"DeepSpeed's partitions and rng states do not; start {wrote} ranks, or convert it (DeepSpeed: to a universal checkpoint)"
    )


def _option(command: Sequence[str], name: re.Pattern[str]) -> int | None:
    for at, word in enumerate(command):
        option, given, value = word.partition("=")
        if name.match(option):
            value = value if given else (command[at + 1] if at + 1 < len(command) else "")
            return int(value) if value.isdecimal() and int(value) > 0 else None
    return None
