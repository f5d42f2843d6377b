"""The command `spotguard`: finds the command, loads only that one, and turns what it raises into a line and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from spotguard import __version__
from spotguard.cli.examples import epilog
from spotguard.cli.options import DEBUG_VARIABLE
from spotguard.cli.reporting import detach_output, report
from spotguard.core.exit_status import ExitStatus

COMMANDS: Mapping[str, str] = {
    "daemon": "Guard the run: watch, upload, commit, and drain at an interruption.",
    "sync": "Upload and commit all that is complete, then exit.",
    "restore": "Bring the newest committed checkpoint back.",
    "resume": "Restore, then become CMD, the command that trains on.",
    "run": "Restore, start CMD and guard it: daemon and trainer in one line.",
    "list": "Show the committed checkpoints.",
    "verify": "Re-read all committed checkpoints, or NAME, and check every byte.",
    "adopt": "Commit what another tool put into the prefix.",
    "bucket": "Set the bucket up, see what it lacks, or print the least IAM policy.",
    "status": "Ask the running daemon whether the run is safe.",
    "drill": "Rehearse an interruption on the live job and say what it would cost.",
    "doctor": "Check every precondition of a safe run, each with its fix.",
    "config": "Show the effective configuration and where each value came from.",
    "demo": "See the whole story on this machine: no AWS account, under a minute.",
}
"""Each name is a module in `spotguard.cli.commands` with a click command called `command`; the text is its line of help, kept here
so that `--help` loads none of them."""


class SpotguardGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"spotguard.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.epilog = epilog(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib  # for mistakes only

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            raise click.UsageError(f"no such command: {name}" + (f"; did you mean {near[0]}?" if near else ""), ctx=ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if not ctx._protected_args and not ctx.args:
            raise click.UsageError(f"no command given; one of {', '.join(COMMANDS)}", ctx=ctx)
        return super().invoke(ctx)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run a command line and exit the process with its status. Nothing but SystemExit leaves here."""
        self._main_shell_completion(extra, prog_name or "spotguard")  # ends the process where a shell asks
        arguments = list(sys.argv[1:] if args is None else args)
        sys.exit(_run(self, arguments, prog_name or "spotguard", extra))


@click.group(
    "spotguard",
    cls=SpotguardGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(""),
)
@click.version_option(__version__, prog_name="spotguard", message="%(prog)s %(version)s")
def cli() -> None:
    """Keeps every checkpoint of a training run on EC2 spot instances."""


def _run(group: click.Group, arguments: list[str], prog_name: str, extra: Mapping[str, Any]) -> int:
    try:
        with group.make_context(prog_name, arguments, **extra) as context:
            group.invoke(context)
        _flush(sys.stdout)
    except click.exceptions.Exit as leaving:
        return _flushed(leaving.exit_code)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last frame: whatever it is becomes a line and a status
        return report(error, verbose=_wants_traceback(arguments))
    return ExitStatus.DONE


def _wants_traceback(arguments: Sequence[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"} or "-v" in own or "--verbose" in own


def _flushed(status: int) -> int:
    try:
        _flush(sys.stdout)
    except BrokenPipeError:
        detach_output()
        return ExitStatus.BROKEN_PIPE
    return status


def _flush(stream: Any) -> None:
    if stream is not None and not stream.closed:
        stream.flush()
