"""MosaicML Composer: `ep<E>-ba<B>-rank<R>.pt`, one file of each rank that saves, or a folder `ep<E>-ba<B>` with shards.

Facts: `composer/utils/checkpoint.py`, `callbacks/checkpoint_saver.py`. Each rank writes its file in place; after a barrier the link
`latest-rank<R>.pt` is taken away and made anew, so for a moment there is none. Only file names as Composer gives them by default count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, CompleteBy, LocalCheckpoint, Unfinished, Unit, Whole
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.generic_rule import lacks, whole_once_quiet
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

_FILE = re.compile(r"^(ep[0-9]+-ba[0-9]+)-rank[0-9]+\.(pt|tar)(\.[a-z0-9]+)?$")
_FOLDER = re.compile(r"^ep[0-9]+-ba[0-9]+$")
_LATEST = re.compile(r"^latest-rank[0-9]+\.(pt|tar)(\.[a-z0-9]+)?$|^latest-rank[0-9]+$|^latest$")
_TIME = re.compile(r"^ep([0-9]+)-ba([0-9]+)")


class Composer:
    name = "composer"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return (_FILE if unit is Unit.FILE else _FOLDER).match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        newest = max((_time(target) for target in _latest_targets(place)), default=None)
        groups: dict[str, list[str]] = defaultdict(list)
        for path in place.files:
            if (match := _FILE.match(last_name(path))) and path not in place.index.tree.links:
                groups[match[1]].append(path)
        for stem, members in groups.items():
            links = tuple(link for path in members for link in _links_to(place, path))
            name = f"{place.path}/{stem}" if place.path else stem
            yield Claim(name, Unit.GROUP, tuple(members), links=links, pending=_pending(stem, newest, linked=bool(links)))
        for folder in place.folders:
            if _FOLDER.match(last_name(folder)) and place.index.holds_something(folder):
                links = _links_to(place, folder)
                pending = _pending(last_name(folder), newest, linked=bool(links))
                yield Claim(folder, Unit.DIRECTORY, (folder,), links=links, pending=pending)

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        if decided := soundness.without_waiting(soundness.fault_in(checkpoint, findings), circumstances):
            return decided
        if why := lacks(checkpoint, circumstances.predecessor):
            return Unfinished(why)
        if checkpoint.links_beside:
            return Whole(CompleteBy.MARKER)
        return whole_once_quiet(circumstances, circumstances.settle_seconds, CompleteBy.QUIET, "no link leads to it")


def _time(name: str) -> tuple[int, int]:
    """(epoch, batch)."""
    match = _TIME.match(last_name(name))
    return (int(match[1]), int(match[2])) if match else (-1, -1)


def _latest_targets(place: Place) -> Iterator[str]:
    links = place.index.tree.links
    for link in place.index.entries(place.path).links:
        if _LATEST.match(last_name(link)):
            yield links[link].target.rstrip("/")


def _links_to(place: Place, path: str) -> tuple[str, ...]:
    return tuple(link for link in place.links_to(path) if _LATEST.match(last_name(link)))


def _pending(stem: str, newest: tuple[int, int] | None, *, linked: bool) -> str:
    """Links that lead to older ones only are moved when all ranks have saved."""
    if newest is None or linked or newest >= _time(stem):
        return ""
    return "the link to the latest checkpoint does not lead to it yet"
