"""Retention: which committed generations the user's `keep_*` rules give up (docs/configuration.md).

A checkpoint stays if any one of the rules keeps it; the newest of each stage stays whatever they say. Of a checkpoint that stays, the
newest two generations stay and older ones go, so that `last.ckpt` does not pile up. Without any rule everything stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from spotguard.core.checkpoint import Order, stage_of, step_of
from spotguard.core.run_keys import ManifestKey, newest_first

GENERATIONS_KEPT = 2
_DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What the user wants kept, per stage. None: this rule keeps nothing by itself; all None: everything is kept."""

    keep_last: int | None = None
    """The newest so many checkpoints."""
    keep_every: int | None = None
    """Checkpoints whose step is divisible by this."""
    keep_days: float | None = None
    """Checkpoints saved within the last so many days, by the store's clock."""

    @property
    def keeps_all(self) -> bool:
        return self.keep_last is None and self.keep_every is None and self.keep_days is None


def given_up(
    manifests: Iterable[ManifestKey],
    rule: RetentionRule,
    *,
    now: float,
    unreadable: Collection[str] = (),
    in_use: Collection[str] = (),
) -> tuple[ManifestKey, ...]:
    """The manifests that the rule gives up, the oldest first.

    `unreadable` are keys of manifests that may not be acted on: they never count as the newest of anything, and nothing of their
    name is given up, because what they mean is not known. Of names `in_use` (a local checkpoint that is not committed yet) nothing is
    given up either: its commit may build on what lies there. They do count, since they can be restored.

    Safe because it works on whole names within a stage and the first of `newest_first` over the readable ones is always kept: whatever
    else is wrong with the rule, a restore finds the newest checkpoint of each stage. `now` is in seconds since the epoch, S3's clock.
    """
    if rule.keeps_all:
        return ()
    readable = [manifest for manifest in manifests if manifest.key not in unreadable]
    untouchable = {manifest.name for manifest in manifests if manifest.key in unreadable} | set(in_use)
    stages: defaultdict[str, list[ManifestKey]] = defaultdict(list)
    for manifest in readable:
        stages[stage_of(manifest.name)].append(manifest)
    gone = [
        manifest
        for stage in stages.values()
        for manifest in _given_up_in_stage(newest_first(stage), rule, now)
        if manifest.name not in untouchable
    ]
    return tuple(reversed(newest_first(gone)))


def is_expendable(name: str, order: Order, committed: Iterable[ManifestKey], rule: RetentionRule, *, now: float) -> bool:
    """Whether the rule would give an uncommitted checkpoint up as soon as it were committed: then it is not worth sending.

    `committed` are the readable commits of the run. Never true of one that is newer than all of its stage in `committed`. `now` as for
    `given_up`, the store's clock."""
    candidate = ManifestKey(name, order.generation, order.saved_at, "")
    return candidate in given_up([*committed, candidate], rule, now=now)


def _given_up_in_stage(stage: Sequence[ManifestKey], rule: RetentionRule, now: float) -> Iterator[ManifestKey]:
    """`stage`: its readable manifests, the newest first."""
    generations: dict[str, list[ManifestKey]] = {}
    for manifest in stage:
        generations.setdefault(manifest.name, []).append(manifest)
    for position, (name, commits) in enumerate(generations.items()):
        if position == 0 or _keeps(rule, position, name, commits[0], now):
            latest = sorted(commits, key=lambda commit: commit.generation)[-GENERATIONS_KEPT:]
            # the newest by time is nearly always the latest generation; where a clock went back, both stay
            yield from (commit for commit in commits[1:] if commit not in latest)
        else:
            yield from commits


def _keeps(rule: RetentionRule, position: int, name: str, newest: ManifestKey, now: float) -> bool:
    if rule.keep_last is not None and position < rule.keep_last:
        return True
    step = step_of(name)
    if rule.keep_every is not None and step is not None and step % rule.keep_every == 0:
        return True
    return rule.keep_days is not None and now - newest.saved_at <= rule.keep_days * _DAY_SECONDS
