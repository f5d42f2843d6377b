"""The reference of all keys, written from the models: `python -m spotguard.config.reference [table|example]`.

docs/configuration.md holds the table between its two marks, config.example.yaml is the example; tests compare both with this.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from spotguard.config.keys import KEYS, SECTIONS, Key
from spotguard.config.sections import ALWAYS_EXCLUDED

_SECTION_WORDS = {
    "watch": "What is watched.",
    "destination": "Where checkpoints go, and how long they stay there.",
    "upload": "How they get there.",
    "imds": "The instance metadata service, which announces interruptions.",
    "trainer": "Whom to tell. Without a target and a signal nobody is signalled.",
    "hooks": 'Commands of yours, as lists of words: ["/usr/local/bin/notify", "--urgent"]. They get the event as JSON on standard input\n'
    "and are time-limited; a failure is logged, no more.",
    "interruption": "What an interruption means.",
    "node": "Which node of several this is.",
    "http": "Where the daemon answers.",
    "log": "What is logged on standard error.",
}
_EXAMPLES: dict[str, Any] = {"watch.dir": "/data/checkpoints", "destination.url": "s3://my-bucket/my-run", "watch.exclude": []}
_FROM_ENVIRONMENT = frozenset({"imds.endpoint", "node.rank", "node.count"})
"""Keys whose default others' variables set: a number in the example would hide those, null does not."""


def table() -> str:
    """All keys as a Markdown table."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    rows += [f"| `{key.name}` | {_default(key)} | {key.field.description} |" for key in KEYS.values()]
    return "\n".join(rows) + "\n"


def example() -> str:
    """A configuration file with every key, each with a comment."""
    lines = [
        "# Every key of spotguard with its default. Only watch.dir and destination.url are required; delete the rest as you like.",
        "# A key without a value (null) means the default. Each key can also be given as SPOTGUARD_SECTION__KEY or --set section.key=…",
    ]
    for section in SECTIONS:
        lines += ["", *(f"# {line}" for line in _SECTION_WORDS[section].splitlines()), f"{section}:"]
        for key in KEYS.values():
            if key.name.startswith(f"{section}."):
                lines += _example_lines(key)
    return "\n".join(lines) + "\n"


def _example_lines(key: Key) -> Iterator[str]:
    for line in textwrap.wrap((key.field.description or "").replace("`", ""), 120, break_on_hyphens=False):
        yield f"  # {line}"
    if key.name in _FROM_ENVIRONMENT:
        yield f"  # Without a value: {key.default}, or what the environment says."
    value = None if key.name in _FROM_ENVIRONMENT else _EXAMPLES.get(key.name, key.default)
    yield f"  {key.name.partition('.')[2]}: {_yaml(value)}"


def _default(key: Key) -> str:
    if key.required:
        return "required"
    if key.name == "watch.exclude":
        return "`[" + ", ".join(f'"{pattern}"' for pattern in ALWAYS_EXCLUDED) + "]`"
    return "none" if key.default is None else f"`{_yaml(key.default)}`"


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    text = str(yaml.safe_dump(value, default_flow_style=True, width=1000))
    return text.removesuffix("...\n").strip()


def main(arguments: list[str]) -> None:
    """Print the table or the example."""
    sys.stdout.write(example() if arguments[:1] == ["example"] else table())


def documented(page: Path) -> str:
    """The table that a page of the documentation holds, between its marks."""
    return page.read_text().partition("<!-- keys -->\n")[2].partition("<!-- /keys -->")[0].strip() + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
