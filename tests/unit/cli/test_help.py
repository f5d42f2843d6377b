"""`--help` teaches by example, and the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import click
import pytest
from click.testing import CliRunner

from spotguard.cli.examples import EXAMPLES
from spotguard.cli.main import COMMANDS, cli
from spotguard.config.keys import KEYS


def spotguard(*arguments: str, env: Mapping[str, str]) -> str:
    command = [sys.executable, "-m", "spotguard", *arguments]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=True).stdout


def completed(line: str) -> list[str]:
    told = spotguard(env={"_SPOTGUARD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)})
    return [word.partition(",")[2] for word in told.split()]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_ends_with_examples_of_options_that_exist(command: str) -> None:
    told = CliRunner().invoke(cli, [*command.split(), "--help"]).output
    assert "Examples:" in told
    for line in EXAMPLES[command]:
        assert f"  {line}\n" in told
        words = line.partition(" -- ")[0].partition(" | ")[0].partition(" > ")[0].partition(" && ")[0].split()
        words = words[words.index("spotguard") + 1 :]
        known: click.Command = cli
        while isinstance(known, click.Group) and words:
            found = known.get_command(click.Context(known), words.pop(0))
            assert found is not None
            known = found
        options = {name for parameter in known.params for name in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
        for setting in [words[at + 1] for at, word in enumerate(words) if word == "--set"]:
            assert setting.partition("=")[0] in KEYS


def test_a_shell_completes_commands_options_and_keys() -> None:
    assert completed("spotguard re") == ["restore", "resume"]
    assert completed("spotguard restore --st") == ["--stage"]
    assert completed("spotguard daemon --set upload.p") == ["upload.part_size_mib="]
