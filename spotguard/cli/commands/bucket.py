"""`spotguard bucket create|check|policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from spotguard.cli.options import Invocation, configured
from spotguard.cli.output import plain, write_json
from spotguard.core.exit_status import ExitStatus

if TYPE_CHECKING:
    from spotguard.services.run.bucket_setup import Shortcoming, Step

_DAYS = click.option(
    "--noncurrent-days",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="How long deleted and overwritten versions stay (default 7).",
)
_WORDS = {"done": "done   ", "already": "already", "would": "would  ", "left-out": "LEFT   ", "failed": "FAILED "}


@click.group("bucket", no_args_is_help=False)
def command() -> None:
    """Set the bucket up, see what it lacks, or print the least IAM policy."""


@command.command("create", short_help="Make it private, encrypted, versioned, with lifecycle rules.")
@_DAYS
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@configured(needs=["destination.url"])
def create(invocation: Invocation, noncurrent_days: int | None, dry_run: bool) -> ExitStatus:
    """Make the bucket of --url: private, encrypted, versioned, with lifecycle rules. Safe to run again.

    An existing bucket keeps what others have put into its policy and rules. Rules of ours then hold for the run's prefix only.
    """
    from spotguard.assembly.bucket import bucket_setup
    from spotguard.cli.interruptible import run_interruptible

    def say(step: Step) -> None:
        if not invocation.json:
            detail = f" ({plain(step.reason)})" if step.reason and step.outcome in ("left-out", "would") else ""
            click.echo(f"{_WORDS[step.outcome]} {step.name}: {plain(step.what)}{detail}")

    async def work() -> list[Step]:
        async with bucket_setup(invocation.config, noncurrent_days=noncurrent_days) as setup:
            return await setup.create(say, dry_run=dry_run)

    steps = run_interruptible(work())
    if invocation.json:
        write_json({"bucket": invocation.config.destination.bucket, "dry_run": dry_run, "steps": [_step(step) for step in steps]})
    failed = [step for step in steps if step.outcome == "failed"]
    for step in failed:
        click.echo(f"spotguard: {step.name} was not made: {plain(str(step.error))}; {plain(step.reason)}", err=True)
    return ExitStatus.FAILED if failed else ExitStatus.DONE


@command.command("check", short_help="Say what it lacks, and the command that mends it.")
@_DAYS
@configured(needs=["destination.url"])
def check(invocation: Invocation, noncurrent_days: int | None) -> ExitStatus:
    """Say what the bucket lacks, with the command that mends it. Exits 1 if there is anything that matters."""
    from spotguard.assembly.bucket import bucket_setup
    from spotguard.cli.interruptible import run_interruptible

    async def work() -> list[Shortcoming]:
        async with bucket_setup(invocation.config, noncurrent_days=noncurrent_days) as setup:
            return await setup.check()

    found = run_interruptible(work())
    if invocation.json:
        write_json({"bucket": invocation.config.destination.bucket, "shortcomings": [_shortcoming(one) for one in found]})
    else:
        for one in found:
            click.echo(f"{one.severity}: {one.name}: {plain(one.found)}\n  why: {plain(one.why)}\n  fix: {plain(one.fix)}")
        if not found:
            click.echo(f"s3://{invocation.config.destination.bucket} is as it should be")
    return ExitStatus.FAILED if any(one.severity == "error" for one in found) else ExitStatus.DONE


@command.command("policy", short_help="Print the least IAM policy.")
@click.option(
    "--for", "purpose", type=click.Choice(["daemon", "restore", "setup"]), default="daemon", show_default=True, help="What it must allow."
)
@configured(needs=["destination.url"], json_help="Accepted; the policy is JSON in any case.")
def policy(invocation: Invocation, purpose: str) -> None:
    """Print the least IAM policy, for `aws iam put-role-policy --policy-document`. Asks nobody and changes nothing."""
    from spotguard.assembly.bucket import bucket_policy
    from spotguard.core.iam_policy import Purpose

    write_json(bucket_policy(invocation.config, Purpose(purpose)))


def _step(step: Step) -> dict[str, Any]:
    error = None if step.error is None else str(step.error)
    return {"name": step.name, "outcome": step.outcome, "what": step.what, "reason": step.reason, "error": error}


def _shortcoming(one: Shortcoming) -> dict[str, Any]:
    return {"name": one.name, "severity": one.severity, "found": one.found, "why": one.why, "fix": one.fix}
