"""YAML, read strictly: plain values with the line each stands on. No tags, aliases or duplicate keys, and none of YAML 1.1's
surprises (`off` is a word here, not false; 0644 is the number 644)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from spotguard.config.entries import Entry, YamlProblem

_MAX_BYTES = 1 << 20


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - replaces the class's own table; add_implicit_resolver writes to it

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise YamlProblem("a value that begins with * must be quoted", self.peek_event().start_mark.line + 1)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?[0-9]+$", "-+0123456789")
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")


def parse_mapping(content: bytes) -> tuple[Entry, ...]:
    """The top-level mapping of a file; empty for an empty one. Raises YamlProblem."""
    if len(content) > _MAX_BYTES:
        raise YamlProblem("is larger than a configuration can be (1 MiB)", 1)
    node = _compose(_decoded(content))
    if node is None or _is_null(node):
        return ()
    if not isinstance(node, yaml.MappingNode):
        raise YamlProblem("must consist of sections such as `watch:` and `destination:`", _line(node))
    return tuple(_entries(node))


def parse_value(text: str) -> Any:
    """One value, as an environment variable or an option gives it: a scalar or a list in brackets. Raises YamlProblem."""
    node = _compose(text)
    return None if node is None else _plain(node)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise YamlProblem("is not UTF-8 text", content.count(b"\n", 0, problem.start) + 1) from problem


def _compose(text: str) -> Any:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as problem:
        raise YamlProblem("contains a character that YAML does not allow", text.count("\n", 0, problem.position) + 1) from problem
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        raise YamlProblem(_in_plain_words(" ".join((problem.problem or "is not YAML").split())), mark.line + 1 if mark else 1) from problem
    except (yaml.YAMLError, RecursionError) as problem:
        raise YamlProblem("is not YAML that can be read here", 1) from problem


def _in_plain_words(problem: str) -> str:
    if problem.startswith("expected alphabetic or numeric character"):  # `*.log`: PyYAML tries to read the name of an alias
        return "a value that begins with * or & must be quoted"
    if "another document" in problem:
        return "holds more than one document"
    return "a tab cannot indent; use spaces" if "'\\t'" in problem else problem


def _entries(node: yaml.MappingNode) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise YamlProblem("has a key that is not a word", _line(key_node))
        key = str(key_node.value)
        if key in seen:
            raise YamlProblem(f"has the key {key} twice; it stands on line {seen[key]} already", _line(key_node))
        seen[key] = _line(key_node)
        yield Entry(key, _plain(value_node), _line(key_node))


def _plain(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return tuple(_entries(node))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    text = str(node.value)
    match node.tag.removeprefix("tag:yaml.org,2002:"):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text) if len(text) < 100 else text
        case "float":
            return float(text)
        case "str":
            return text
    raise YamlProblem(f"has the tag {node.tag}, which is not read here; remove it", _line(node))


def _is_null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
