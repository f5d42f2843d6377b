"""What a framework understands: the signal after which it saves and stops, and how its launcher is found (docs/trainers.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Recipe:
    signal: str | None
    """None: it saves at no signal, most would only die of one, so nobody is signalled."""
    process: str | None = None
    """A regular expression for the launcher's command line; the ranks that it started are signalled, not itself."""

    @property
    def keys(self) -> Mapping[str, str]:
        """The keys of the configuration that it sets."""
        pairs = {"trainer.signal": self.signal, "trainer.process": self.process}
        return {key: value for key, value in pairs.items() if value is not None}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "hf-trainer": Recipe("SIGTERM"),
        "lightning": Recipe("SIGTERM"),
        "torchrun": Recipe("SIGTERM", r"(^|[/ ])torchrun( |$)|-m torch\.distributed\.(run|launch)( |$)"),
        "accelerate": Recipe("SIGTERM", r"(^|[/ ])accelerate(-| )launch( |$)|-m accelerate\.commands\.launch( |$)"),
        "deepspeed": Recipe("SIGTERM", r"(^|/)deepspeed( |$)|-m deepspeed\.launcher\.(runner|launch)( |$)"),
        "nemo": Recipe("SIGTERM"),
        "megatron": Recipe("SIGTERM"),
        "orbax": Recipe("SIGTERM"),
        "composer": Recipe(None),
        "plain": Recipe(None),
    }
)
TARGETS = ("pid_file", "process", "systemd_unit", "docker_container")
"""The keys of `trainer` that say whom to signal."""
