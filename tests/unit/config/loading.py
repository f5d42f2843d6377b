"""Loads a configuration in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from spotguard.config.errors import ConfigError
from spotguard.config.keys import REQUIRED
from spotguard.config.provenance import LoadedConfig
from spotguard.config.sources import load_config

BOTH = "watch:\n  dir: out\ndestination:\n  url: s3://my-bucket/run\n"
"""A file of four lines that is enough."""


def load(
    folder: Path,
    yaml: str | None = None,
    *,
    env: Mapping[str, str] | None = None,
    options: Sequence[tuple[str, str]] = (),
    needs: Sequence[str] = REQUIRED,
) -> LoadedConfig:
    """With `yaml` as the file of `-c`."""
    file = None
    if yaml is not None:
        file = str(folder / "c.yaml")
        Path(file).write_text(yaml)
    return load_config(file, options, env or {}, folder, needs=needs)


def refusal(
    folder: Path, yaml: str | None = None, *, env: Mapping[str, str] | None = None, options: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """The lines of the refusal, with the path of the file as `c.yaml`."""
    with pytest.raises(ConfigError) as caught:
        load(folder, yaml, env=env, options=options)
    return [line.replace(str(folder / "c.yaml"), "c.yaml") for line in caught.value.lines]
