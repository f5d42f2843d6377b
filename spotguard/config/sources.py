"""Puts the configuration together (docs/configuration.md). What wins, from the lowest: defaults, variables of others that are
defaults, the file, `SPOTGUARD_…__…` variables, options."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from spotguard.config.errors import ConfigError
from spotguard.config.keys import KEYS, REQUIRED, SECTIONS
from spotguard.config.layers import Layer, from_environment, from_file, from_options, from_other_variables, merged
from spotguard.config.models import Config
from spotguard.config.provenance import DEFAULT, UNSET, Given, LoadedConfig, Source
from spotguard.config.pydantic_plugins import no_plugins
from spotguard.config.wording import describe, line_for
from spotguard.core.recipes import RECIPES, TARGETS

FILE_VARIABLE = "SPOTGUARD_CONFIG"
DEFAULT_FILES = ("spotguard.yaml", "/etc/spotguard/config.yaml")
_MAX_BYTES = (1 << 20) + 1
_PLACEHOLDERS: Mapping[str, object] = {
    # Never touched: whoever needs the key asks for it in `needs`. Using it by mistake fails at the first system call or request.
    "watch.dir": Path("/dev/null/watch.dir is not set"),
    "destination.url": "s3://destination.url-is-not-set",
}


def load_config(
    file: str | None,
    overrides: Sequence[tuple[str, str]],
    environ: Mapping[str, str],
    cwd: str | Path,
    *,
    needs: Sequence[str] = REQUIRED,
) -> LoadedConfig:
    """The effective configuration and where each value came from.

    `file` is what `-c` says; `overrides` are (key, text) of the options, the last one winning; relative paths start at `cwd`.
    A required key that is not in `needs` may be missing: it then holds a placeholder and its provenance is `unset`.
    Raises ConfigError with one line per mistake."""
    mistakes: list[str] = []
    path, content = _read_file(file, environ, Path(cwd))
    defaults = from_other_variables(environ, mistakes)
    given = merged(
        [
            from_file(path, content, mistakes) if path else {},
            from_environment(environ, mistakes),
            from_options(overrides, mistakes),
        ]
    )
    given = _with_defaults(given, defaults | _from_recipe(given))
    _apply_metadata_switch(given, environ)
    for name in REQUIRED:
        if name not in needs and name not in given:
            given[name] = Given(_PLACEHOLDERS[name], UNSET)
    config = _validated(given, mistakes, str(cwd))
    provenance = {name: given[name].source if name in given else DEFAULT for name in KEYS}
    return LoadedConfig(config=config, provenance=MappingProxyType(provenance), file=path)


def require(loaded: LoadedConfig, *names: str) -> None:
    """Raises ConfigError for each of the required keys that is not set."""
    missing = [name for name in names if loaded.provenance[name].kind == "unset"]
    if missing:
        raise ConfigError([f"{name} is not set; give {KEYS[name].how_to_set}" for name in missing])


def require_target(loaded: LoadedConfig) -> None:
    """Raises ConfigError where a signal is to be sent and nobody is named who could get it."""
    if loaded.config.trainer.targets:
        return
    for name in ("trainer.signal", "trainer.checkpoint_signal"):
        value = getattr(loaded.config.trainer, name.partition(".")[2])
        if value is not None:
            targets = ", ".join(f"trainer.{target}" for target in TARGETS)
            wrong = f"a signal needs a target; give one of {targets}, or start the trainer by `spotguard run`"
            raise ConfigError([line_for(name, value, loaded.provenance[name], wrong)])


def _from_recipe(given: Layer) -> Layer:
    """What the recipe sets; no target where one is given. A recipe that does not exist is refused by the model."""
    name = given["trainer.recipe"].value if "trainer.recipe" in given else None
    recipe = RECIPES.get(name) if isinstance(name, str) else None
    if recipe is None:
        return {}
    has_target = any((entry := given.get(f"trainer.{target}")) is not None and entry.value is not None for target in TARGETS)
    source = Source("recipe", str(name))
    return {key: Given(value, source) for key, value in recipe.keys.items() if not (has_target and key.partition(".")[2] in TARGETS)}


def _read_file(file: str | None, environ: Mapping[str, str], cwd: Path) -> tuple[str | None, bytes]:
    """The path and content of the file that counts; (None, nothing) when none is named and no default one exists."""
    named, by = (file, "-c") if file is not None else (environ.get(FILE_VARIABLE) or None, f"variable {FILE_VARIABLE}")
    for candidate in [named] if named is not None else DEFAULT_FILES:
        path = cwd / candidate
        try:
            with path.open("rb") as opened:
                return str(path), opened.read(_MAX_BYTES)
        except (OSError, ValueError) as problem:
            absent = isinstance(problem, OSError) and problem.errno in {errno.ENOENT, errno.ENOTDIR}
            if named is None and absent:
                continue
            reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
            origin = f" (from {by})" if named is not None else ""
            raise ConfigError([f"{path}{origin}: the configuration file cannot be read: {reason}"]) from problem
    return None, b""


def _with_defaults(given: Layer, defaults: Layer) -> Layer:
    """Null means `as if not given` wherever it is not a value of its own, so an empty line in the file leaves the default."""
    said = {name: entry for name, entry in given.items() if entry.value is not None or KEYS[name].null_is_a_value}
    nulls = {name: entry for name, entry in given.items() if name not in said and not KEYS[name].required and _admits_null(name)}
    return nulls | defaults | said


def _admits_null(name: str) -> bool:
    return KEYS[name].default is None


def _apply_metadata_switch(given: Layer, environ: Mapping[str, str]) -> None:
    """`AWS_EC2_METADATA_DISABLED=true` turns `auto` into `off`, unless one of our own keys names the endpoint."""
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
        return
    mode, endpoint = given.get("imds.mode"), given.get("imds.endpoint")
    ours = endpoint is not None and endpoint.source.name != "AWS_EC2_METADATA_SERVICE_ENDPOINT"
    if (mode is None or mode.value == "auto") and not ours:
        given["imds.mode"] = Given("off", Source("env", "AWS_EC2_METADATA_DISABLED"))


def _validated(given: Layer, mistakes: list[str], cwd: str) -> Config:
    nested: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, entry in given.items():
        section, _, field = name.partition(".")
        nested[section][field] = entry.value
    try:
        with no_plugins():  # the first use builds the models
            config = Config.model_validate(nested, context={"cwd": cwd})
    except ValidationError as problems:
        raise ConfigError([*mistakes, *describe(problems, given, _sections_in(mistakes))]) from None
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _sections_in(mistakes: Sequence[str]) -> frozenset[str]:
    """The sections with a key that was not understood: that one of their keys is not set is probably the same mistake."""
    return frozenset(section for section in SECTIONS if any(section in mistake.lower() for mistake in mistakes))
