"""What each source says, key by key: the file, the environment, the options. Mistakes are collected, not raised one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spotguard.config.entries import Entry, YamlProblem
from spotguard.config.errors import ConfigError
from spotguard.config.keys import ENVIRONMENT_PREFIX, KEYS, SECTIONS, Key, suggestion
from spotguard.config.provenance import OPTION, Given, Source
from spotguard.config.wording import line_for

Layer = dict[str, Given]

_DEFAULTS_FROM = {
    "imds.endpoint": ("AWS_EC2_METADATA_SERVICE_ENDPOINT",),
    "node.rank": ("GROUP_RANK", "NODE_RANK", "SLURM_NODEID"),
    "node.count": ("GROUP_WORLD_SIZE", "NNODES", "SLURM_NNODES"),
}
"""Variables of others that are the default of a key; the first one that is not empty counts."""


def from_file(path: str, content: bytes, mistakes: list[str]) -> Layer:
    """What the file says. Raises ConfigError when it is no YAML at all, because then nothing else can be judged."""
    from spotguard.config.yaml_text import parse_mapping  # as in _value_of

    layer: Layer = {}
    try:
        entries = parse_mapping(content)
    except YamlProblem as problem:
        raise ConfigError([f"{path} line {problem.line}: {problem}"]) from problem
    for section in entries:
        source = Source("file", path, section.line)
        if section.key not in SECTIONS:
            mistakes.append(_unknown(section.key, source, "; keys stand in sections: write them nested" if section.key in KEYS else None))
        elif isinstance(section.value, tuple):
            _take_section(section, path, layer, mistakes)
        elif section.value is not None:
            names = ", ".join(name for name in KEYS if name.startswith(f"{section.key}."))
            mistakes.append(line_for(section.key, section.value, source, f"is a section; its keys are {names}"))
    return layer


def _take_section(section: Entry, path: str, layer: Layer, mistakes: list[str]) -> None:
    for entry in section.value:
        name, source = f"{section.key}.{entry.key}", Source("file", path, entry.line)
        if name not in KEYS:
            mistakes.append(_unknown(name, source))
        elif isinstance(entry.value, tuple):
            mistakes.append(line_for(name, _as_dict(entry.value), source, "must be one value, not a section"))
        else:
            layer[name] = Given(_as_dict(entry.value), source)


def from_environment(environ: Mapping[str, str], mistakes: list[str]) -> Layer:
    """The `SPOTGUARD_A__B` variables. An empty one counts as not set, as container and unit files leave them."""
    layer: Layer = {}
    for variable in sorted(environ):
        rest = variable.removeprefix(ENVIRONMENT_PREFIX)
        if rest == variable or "__" not in rest or environ[variable] == "":
            continue
        name, source = rest.lower().replace("__", "."), Source("env", variable)
        if name not in KEYS:
            mistakes.append(_unknown(name, source))
        else:
            _take_text(KEYS[name], environ[variable], source, layer, mistakes)
    return layer


def from_other_variables(environ: Mapping[str, str], mistakes: list[str]) -> Layer:
    """The defaults that AWS, torchrun and Slurm set."""
    layer: Layer = {}
    for name, variables in _DEFAULTS_FROM.items():
        if variable := next((candidate for candidate in variables if environ.get(candidate)), None):
            _take_text(KEYS[name], environ[variable], Source("env", variable), layer, mistakes)
    return layer


def from_options(overrides: Sequence[tuple[str, str]], mistakes: list[str]) -> Layer:
    layer: Layer = {}
    for name, text in overrides:
        if name not in KEYS:
            mistakes.append(_unknown(name, OPTION))
        else:
            _take_text(KEYS[name], text, OPTION, layer, mistakes)
    return layer


def _take_text(key: Key, text: str, source: Source, layer: Layer, mistakes: list[str]) -> None:
    try:
        layer[key.name] = Given(_value_of(key, text), source)
    except YamlProblem as problem:
        mistakes.append(line_for(key.name, text, source, str(problem)))


def _value_of(key: Key, text: str) -> Any:
    if key.is_text:
        return None if text == "null" and not key.required else text
    if key.is_list and not text.lstrip().startswith("[") and text.strip() not in {"null", "~", ""}:
        return text  # refused by the model, which says how to write a list
    from spotguard.config.yaml_text import parse_value  # YAML is loaded where there is any: many commands are given texts only

    return _as_dict(parse_value(text))


def _as_dict(value: Any) -> Any:
    if isinstance(value, tuple):
        return {entry.key: _as_dict(entry.value) for entry in value}
    return [_as_dict(item) for item in value] if isinstance(value, list) else value


def _unknown(name: str, source: Source, advice: str | None = None) -> str:
    where = f"{source.name}: no such key" if source.kind == "env" else f"{name} ({source.words}): no such key"
    return where + (suggestion(name) if advice is None else advice)


def merged(layers: Iterable[Layer]) -> Layer:
    """The later ones win."""
    result: Layer = {}
    for layer in layers:
        result |= layer
    return result
