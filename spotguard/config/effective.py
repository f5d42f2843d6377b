"""The effective configuration as plain values that may be shown: secrets are masked, what is not set is null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spotguard.config.keys import KEYS, SECTIONS
from spotguard.config.provenance import LoadedConfig
from spotguard.config.wording import MASK, SECRETS


def effective_values(loaded: LoadedConfig) -> dict[str, Any]:
    """Every key, `section.field`, with its value as JSON knows it."""
    return {name: _shown(loaded, name) for name in KEYS}


def nested(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The same by section, as a configuration file has it."""
    return {
        section: {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{section}.")} for section in SECTIONS
    }


def _shown(loaded: LoadedConfig, name: str) -> Any:
    section, _, field = name.partition(".")
    value = getattr(getattr(loaded.config, section), field)
    if loaded.provenance[name].kind == "unset" or value is None:
        return None
    if name in SECRETS:
        return MASK
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
