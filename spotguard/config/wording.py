"""What is wrong with a value, in one line for people: key, value, where it came from, what to do."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from spotguard.config.errors import KeysConflict
from spotguard.config.keys import KEYS
from spotguard.config.provenance import DEFAULT, Given, Source

MASK = "***"
SECRETS = frozenset({"http.token"})
_LONGEST_VALUE = 80
_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; quote it",
    "tuple_type": 'must be a list; write ["first", "second"]',
}


def describe(problems: ValidationError, given: Mapping[str, Given], known_bad: Collection[str] = ()) -> list[str]:
    """One line per mistake, in the order of the keys. Of `known_bad` sections it is not told that a key is not set."""
    said = [p for p in problems.errors(include_url=False) if not (p["type"] == "missing" and p["loc"][0] in known_bad)]
    return [line for problem in said for line in _lines(problem, given)]


def line_for(key: str, value: object, source: Source, wrong: str) -> str:
    return f"{key} = {shown(key, value)} ({source.words}): {wrong}"


def shown(key: str, value: object) -> str:
    if key.partition("[")[0] in SECRETS and value is not None:
        return MASK
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _lines(problem: ErrorDetails, given: Mapping[str, Given]) -> Iterator[str]:
    conflict = problem.get("ctx", {}).get("error")
    if isinstance(conflict, KeysConflict):
        parts = [f"{key} = {_value_and_source(key, given)}" for key in conflict.keys]
        yield f"{', '.join(parts)}: {conflict}"
        return
    key = ".".join(str(part) for part in problem["loc"][:2])
    index = "".join(f"[{part}]" for part in problem["loc"][2:] if isinstance(part, int))
    if problem["type"] == "missing":
        yield f"{key} is not set; give {KEYS[key].how_to_set}" if key in KEYS else f"{key} is not set"
        return
    source = given[key].source if key in given else DEFAULT
    yield line_for(key + index, problem["input"], source, _wrong(problem))


def _value_and_source(key: str, given: Mapping[str, Given]) -> str:
    if key in given:
        return f"{shown(key, given[key].value)} ({given[key].source.words})"
    return f"{shown(key, KEYS[key].default)} (default)"


def _wrong(problem: ErrorDetails) -> str:
    context: dict[str, Any] = problem.get("ctx", {})
    match problem["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be {context['expected']}".replace("'", "")
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "less_than":
            return f"must be less than {context['lt']:g}"
    return _KINDS.get(problem["type"], problem["msg"][:1].lower() + problem["msg"][1:])
