"""What every command has in common: its options, the configuration, the logs, the exit status.

A command is a module `spotguard/cli/commands/NAME.py` with a click command called `command`:

    @click.command()
    @click.argument("name", required=False)
    @configured(needs=["destination.url"])
    def command(invocation: Invocation, name: str | None) -> ExitStatus:
        '''One line for `spotguard --help` (and the same in spotguard.cli.main.COMMANDS).'''
        from spotguard.assembly import verify          # what is slow to load is loaded here

        outcome = asyncio.run(verify(invocation.config, name))
        if invocation.json:
            write_json(outcome)
        return ExitStatus.DONE

`needs` names the required keys that the command cannot do without; a required key outside of it may be unset, and then holds
a value that nothing can be done with. Where only some calls need one: `invocation.require("watch.dir")`.
Returning None means ExitStatus.DONE. Failures are raised; `spotguard.cli.errors` turns them into one line and the exit status.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from spotguard.cli.loading import collector_paused

if TYPE_CHECKING:  # pydantic is loaded when a command runs, not for `--help`
    from spotguard.config.models import Config
    from spotguard.config.provenance import LoadedConfig

DEBUG_VARIABLE = "SPOTGUARD_DEBUG"
EVERYTHING = ("watch.dir", "destination.url")
"""All keys that are required."""

Wrapped = TypeVar("Wrapped", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a command."""

    config: Config
    json: bool
    """Print JSON on standard output and nothing else there."""
    loaded: LoadedConfig
    """The same configuration with the source of each value."""
    verbose: bool = False

    def require(self, *keys: str) -> None:
        """Raises ConfigError (exit 2) for each of these required keys that is not set."""
        from spotguard.config.sources import require

        require(self.loaded, *keys)


def configured(
    *, needs: Sequence[str] = EVERYTHING, logs: Literal["quiet", "full"] = "quiet", json_help: str = "Print JSON."
) -> Callable[[Wrapped], Wrapped]:
    """Give a command `-c`, `--dir`, `--url`, `--set`, `--json` and `-v`, and call it with an Invocation first.

    `logs`: `full` logs as `log.level` says (a daemon); `quiet` only errors, unless `-v` or `log.level` is given,
    because what a command has to say of a failure is its one line."""

    def decorate(function: Wrapped) -> Wrapped:
        @functools.wraps(function)
        def wrapper(**given: Any) -> None:
            with collector_paused():
                invocation = _invoke(given, needs, logs)
            click.get_current_context().exit(int(function(invocation, **given) or 0))

        for option in reversed(_options(json_help)):
            wrapper = option(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


def _options(json_help: str) -> list[Callable[[Any], Any]]:
    return [
        click.option("-c", "--config", "config_file", metavar="FILE", help="Configuration file."),
        click.option("--dir", "watch_dir", metavar="DIR", help="Watch root (watch.dir)."),
        click.option("--url", "destination_url", metavar="s3://BUCKET/PREFIX", help="Where the run is kept (destination.url)."),
        click.option(
            "--set",
            "settings",
            metavar="KEY=VALUE",
            multiple=True,
            help="Any key of the configuration; repeatable.",
            shell_complete=_complete_key,
        ),
        click.option("--json", "as_json", is_flag=True, help=json_help),
        click.option("-v", "--verbose", is_flag=True, help="Log everything; show the traceback of an unexpected error."),
    ]


def _complete_key(_context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
    from spotguard.config.keys import KEYS

    return [f"{key}=" for key in KEYS if key.startswith(begun)]


def _invoke(given: dict[str, Any], needs: Sequence[str], logs: Literal["quiet", "full"]) -> Invocation:
    """Takes the common options out of `given`."""
    from spotguard.config.sources import load_config
    from spotguard.logs import configure_logging

    verbose = bool(given.pop("verbose"))
    overrides = overrides_of(given.pop("watch_dir"), given.pop("destination_url"), given.pop("settings"))
    loaded = load_config(given.pop("config_file"), overrides, os.environ, os.getcwd(), needs=needs)
    as_json = bool(given.pop("as_json"))
    configure_logging(_level(loaded, verbose, logs), _format(loaded, as_json, logs))
    return Invocation(config=loaded.config, json=as_json, loaded=loaded, verbose=verbose)


def overrides_of(watch_dir: str | None, url: str | None, settings: Sequence[str]) -> list[tuple[str, str]]:
    """The (key, text) pairs of `--dir`, `--url` and `--set`; raises UsageError."""
    overrides = [(key, value) for key, value in (("watch.dir", watch_dir), ("destination.url", url)) if value is not None]
    for setting in settings:
        key, found, value = setting.partition("=")
        if not found:
            raise click.UsageError(f"--set {setting}: write KEY=VALUE", ctx=click.get_current_context())
        overrides.append((key.strip(), value))
    return overrides


def _level(loaded: LoadedConfig, verbose: bool, logs: Literal["quiet", "full"]) -> str:
    if verbose:
        return "debug"
    chosen = logs == "full" or loaded.provenance["log.level"].kind != "default"
    return loaded.config.log.level if chosen else "error"


def _format(loaded: LoadedConfig, as_json: bool, logs: Literal["quiet", "full"]) -> Literal["auto", "console", "json"]:
    """A daemon has no other output than its log, so `--json` says how that is written."""
    return "json" if as_json and logs == "full" else loaded.config.log.format
