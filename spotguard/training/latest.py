"""The checkpoint to go on from, of those that lie here."""

from __future__ import annotations

import os
import time

from spotguard.core.checkpoint import LocalCheckpoint, Unfinished, Whole
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.identify import identify
from spotguard.core.layouts.learned import Predecessors, paths_of
from spotguard.core.layouts.soundness import fault_in
from spotguard.training.folder_look import findings_for, tree_of

SETTLE_SECONDS = 10.0
"""As the default of `watch.settle_seconds`."""


def get_latest_checkpoint(folder: str | os.PathLike[str]) -> str | None:
    """The path of the newest whole checkpoint under `folder`, None when there is none (or no such folder).

    Whole is what spotguard would upload: the framework's marker where there is one, else files that are sound, none missing that the
    checkpoint before it has. A newer one that is torn is passed over. One without a marker that changed within the last 10 s may still
    be being written by somebody; then, and only then, this waits until it has been left alone for that long. What a restore brought is
    as old as when it was saved. With several ranks let one ask and tell the others."""
    root, sights = os.fspath(folder), _Sights()
    given_up_at = time.monotonic() + 3 * SETTLE_SECONDS
    while True:
        newest, wait_seconds = _look(root, sights)
        if wait_seconds is None or time.monotonic() > given_up_at:
            return newest
        time.sleep(max(0.05, min(wait_seconds, SETTLE_SECONDS)))


class _Sights:
    """Since when each checkpoint has looked as it does."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[object, float]] = {}

    def quiet_seconds(self, checkpoint: LocalCheckpoint) -> float:
        """By its files' times, or by having watched it for that long, should those lie in the future."""
        now = time.monotonic()
        content, since = self._first.get(checkpoint.name, (None, now))
        if content != checkpoint.content:
            since = now
            self._first[checkpoint.name] = checkpoint.content, since
        return max(now - since, (time.time_ns() - checkpoint.saved_ns) / 1e9)


def _look(root: str, sights: _Sights) -> tuple[str | None, float | None]:
    """The newest whole checkpoint, and after how long a newer one may be whole too; None when time changes nothing."""
    newest: str | None = None
    wait_seconds: float | None = None
    predecessors = Predecessors()
    for checkpoint in sorted(identify(tree_of(root)).checkpoints.values(), key=_age_order):
        quiet_seconds = sights.quiet_seconds(checkpoint)
        findings = findings_for(root, probes_for(checkpoint))
        answer = assess(
            checkpoint,
            findings,
            Circumstances(
                # What has been left alone for that long is left alone for good: the only writer would be the process that asks.
                quiet_seconds=float("inf") if quiet_seconds >= SETTLE_SECONDS else quiet_seconds,
                settle_seconds=SETTLE_SECONDS,
                predecessor=predecessors.of(checkpoint),
            ),
        )
        if isinstance(answer, Whole):
            newest, wait_seconds = os.path.join(root, checkpoint.name), None
            predecessors.add(checkpoint.name, checkpoint.layout, checkpoint.saved_ns, paths_of(checkpoint))
        elif quiet_seconds >= SETTLE_SECONDS and fault_in(checkpoint, findings) is None:
            predecessors.note(checkpoint)
        if isinstance(answer, Unfinished) and answer.waits_only_for_quiet:
            left = SETTLE_SECONDS - quiet_seconds
            wait_seconds = left if answer.ready_in_seconds is None else min(left, answer.ready_in_seconds)
    return newest, wait_seconds


def _age_order(checkpoint: LocalCheckpoint) -> tuple[int, int, str]:
    """As everywhere: saved_at, then step."""
    step = checkpoint.step
    return checkpoint.saved_ns // 1_000_000_000, -1 if step is None else step, checkpoint.name
