"""The keys that there are, taken from the models, and what a misspelt one was meant to be."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from spotguard.config.models import Config

ENVIRONMENT_PREFIX = "SPOTGUARD_"
_MISSING_OPTIONS = {"watch.dir": "--dir DIR", "destination.url": "--url s3://BUCKET/PREFIX"}


class Key(NamedTuple):
    """One key of the configuration."""

    name: str
    """`section.field`."""
    field: FieldInfo
    is_text: bool
    """Whether its value is text, so that what an environment variable says is taken as it stands."""
    is_list: bool
    null_is_a_value: bool
    """Whether null says something else than the default does."""

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper().replace(".", "__")

    @property
    def required(self) -> bool:
        return self.field.is_required()

    @property
    def default(self) -> Any:
        return None if self.required else self.field.get_default(call_default_factory=True)

    @property
    def how_to_set(self) -> str:
        options = [option] if (option := _MISSING_OPTIONS.get(self.name)) else []
        return ", ".join([*options, self.variable]) + f" or {self.name} in a configuration file"


def _collect() -> dict[str, Key]:
    keys = {}
    for section, section_field in Config.model_fields.items():
        model = section_field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for name, field in model.model_fields.items():
            kinds = _kinds(field.annotation)
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            keys[f"{section}.{name}"] = Key(
                name=f"{section}.{name}",
                field=field,
                is_text=kinds - {types.NoneType} <= {str, Path, SecretStr},
                is_list=tuple in kinds,
                null_is_a_value=types.NoneType in kinds and default is not None,
            )
    return keys


def _kinds(annotation: Any) -> set[type]:
    """The plain types that an annotation admits."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return set().union(*(_kinds(part) for part in get_args(annotation)))
    if origin is Literal:
        return {type(value) for value in get_args(annotation)}
    if annotation is None:
        return {types.NoneType}
    return {origin or annotation}


KEYS: Mapping[str, Key] = types.MappingProxyType(_collect())
SECTIONS: tuple[str, ...] = tuple(Config.model_fields)
REQUIRED: tuple[str, ...] = tuple(name for name, key in KEYS.items() if key.required)


def suggestion(unknown: str) -> str:
    """What a misspelt key was probably meant to be, as `; did you mean …?`, else where to look."""
    import difflib  # for mistakes only

    unknown = unknown.lower().replace("-", "_")
    section, _, last = unknown.rpartition(".")
    lasts = {name: name.partition(".")[2] for name in KEYS}
    if len(elsewhere := [name for name in KEYS if lasts[name] == last]) == 1:
        return f"; did you mean {elsewhere[0]}?"
    if section in SECTIONS:
        siblings = [lasts[name] for name in KEYS if name.startswith(f"{section}.")]
        if near := difflib.get_close_matches(last, siblings, n=1):
            return f"; did you mean {section}.{near[0]}?"
        return f"; the keys of {section} are {', '.join(siblings)}"
    known = [*KEYS] if section else [*SECTIONS, *KEYS]
    if near := difflib.get_close_matches(unknown, known, n=1, cutoff=0.7):
        return f"; did you mean {near[0]}?"
    return f"; the sections are {', '.join(SECTIONS)}"
