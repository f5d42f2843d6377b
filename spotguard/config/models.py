"""The whole configuration as one frozen value: `config.watch.dir`, `config.destination.url`, … (docs/configuration.md).

A `Config` is always usable as it is: what a key means is checked here, and whether keys go together. Where the values come from
is `spotguard.config.sources`.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from spotguard.config.errors import KeysConflict
from spotguard.config.sections import (
    Destination,
    Hooks,
    Http,
    Imds,
    Interruption,
    Log,
    Node,
    Section,
    Trainer,
    Upload,
    Watch,
)

__all__ = ["Config", "Destination", "Hooks", "Http", "Imds", "Interruption", "Log", "Node", "Trainer", "Upload", "Watch"]

NOTICE_SECONDS = 120
"""How long before the end AWS gives a spot notice."""


class Config(Section):
    watch: Watch
    destination: Destination
    upload: Upload = Field(default_factory=Upload)
    imds: Imds = Field(default_factory=Imds)
    trainer: Trainer = Field(default_factory=Trainer)
    hooks: Hooks = Field(default_factory=Hooks)
    interruption: Interruption = Field(default_factory=Interruption)
    node: Node = Field(default_factory=Node)
    http: Http = Field(default_factory=Http)
    log: Log = Field(default_factory=Log)

    @model_validator(mode="after")
    def _notice_leaves_time(self) -> Config:
        if self.imds.poll_seconds + self.interruption.margin_seconds >= NOTICE_SECONDS:
            raise KeysConflict(
                ["imds.poll_seconds", "interruption.margin_seconds"],
                f"a notice comes {NOTICE_SECONDS} s ahead, and these together leave nothing of it; lower one",
            )
        return self
