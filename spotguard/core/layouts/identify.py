"""Sorts one look at the watch root into checkpoints and loose files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from spotguard.core.checkpoint import FOLDER_REASON, Inventory, LocalCheckpoint, Tree, Unit
from spotguard.core.layouts.base import Claim, Layout
from spotguard.core.layouts.contents import Surroundings, checkpoint_of, too_long
from spotguard.core.layouts.loose_listing import LooseListing
from spotguard.core.layouts.registry import IN_ORDER, LAYOUTS
from spotguard.core.layouts.tree_index import Place, TreeIndex, ancestors, is_ignored, last_name, parent_of

STATE_FILE = "training_state.json"
"""What `spotguard.training.save_training_state` writes: a companion of every checkpoint beside it or below the root."""


_Claimed = Mapping[str, tuple[Layout, Claim]]


@dataclass(slots=True)
class _Claims:
    """What has been claimed so far; lives as long as `identify`."""

    by_name: dict[str, tuple[Layout, Claim]] = field(default_factory=dict)
    owned: set[str] = field(default_factory=set)
    """Members of checkpoints, and the links that are kept with them."""
    shared: set[str] = field(default_factory=set)
    """Folders on the way to a member: no checkpoint of their own."""

    def take(self, layout: Layout, claim: Claim) -> None:
        """The first that claims an entry has it; one that lost a member to another is no checkpoint."""
        if claim.name in self.by_name or (claim.name in self.shared and claim.unit is Unit.DIRECTORY):
            return
        above = {folder for member in claim.members for folder in ancestors(member)}
        if not self.owned.isdisjoint({*claim.members, *above}):
            return
        self.by_name[claim.name] = (layout, claim)
        self.owned.update(claim.members, claim.links)
        self.shared |= above


def identify(tree: Tree, layout: str = "auto") -> Inventory:
    """Every file ends up in one checkpoint, among the loose files, or is ignored as ours or temporary.

    Raises KeyError for a layout that does not exist.
    """
    index = TreeIndex.of(tree)
    auto = layout == "auto"
    asked = IN_ORDER if auto else (LAYOUTS[layout],)
    claims = _Claims()
    outside: list[str] = []
    overlong: list[str] = []
    for place in _places(index, claims, asked, auto=auto):
        outside.append(place.path)
        overlong += (path for path in place.files if too_long(path))
    loose = LooseListing(index, outside, claims.owned)
    obstacles = _obstacles(index)
    claimed = claims.by_name
    around = _surroundings(tree, obstacles, claimed)
    checkpoints = {name: checkpoint_of(index, claim, by.name, around[name]) for name, (by, claim) in claimed.items()}
    checkpoints |= _blocked(index, obstacles, claimed, asked)
    obstacles |= {path: "a name longer than S3 allows" for path in overlong if path not in claims.owned}
    special = frozenset(path for path in tree.special if not is_ignored(path))
    return Inventory(dict(sorted(checkpoints.items())), loose, obstacles, special, loose.folders())


def _places(index: TreeIndex, claims: _Claims, asked: Iterable[Layout], *, auto: bool) -> Iterator[Place]:
    """The folders outside of any checkpoint, from the top. `claims` has what is claimed in each before it is given."""
    waiting = [""]
    while waiting:
        place = _place(index, waiting.pop())
        for layout in asked:
            for claim in layout.claims(place, auto=auto):
                claims.take(layout, claim)
        waiting.extend(folder for folder in reversed(place.folders) if folder not in claims.owned)
        yield place


def _place(index: TreeIndex, path: str) -> Place:
    entries = index.entries(path)
    linked = [link for link in entries.links if index.linked_file(link)]
    files = sorted((*entries.files, *linked)) if linked else entries.files
    return Place(path, index, files, entries.folders)


def _obstacles(index: TreeIndex) -> dict[str, str]:
    """What is there but cannot be sent, and why: the unreadable, and links that lead out."""
    found = {path: reason for path, reason in index.tree.unreadable.items() if not is_ignored(path)}
    for path, link in index.tree.links.items():
        if link.resolved is None and not is_ignored(path) and index.leads_out(path):
            found[path] = f"a link that leads out of the watch root ({link.target})"
    return dict(sorted(found.items()))


def _surroundings(tree: Tree, obstacles: Mapping[str, str], claimed: _Claimed) -> Mapping[str, Surroundings]:
    unreadable: dict[str, list[tuple[str, str]]] = defaultdict(list)
    excluded: dict[str, list[str]] = defaultdict(list)
    for path in tree.unreadable:
        if (owner := _owner(path, claimed)) and path in obstacles:
            unreadable[owner].append((path, obstacles[path]))
    for path in tree.excluded:
        if (owner := _owner(path, claimed)) and not is_ignored(path):
            excluded[owner].append(path)
    common = [STATE_FILE] if STATE_FILE in tree.files else []  # looked for once: there may be a great many files at the root
    companions = {stage: _companions(tree, stage, common) for stage in {"", *map(parent_of, claimed)}}
    return {name: Surroundings(tuple(sorted(unreadable[name])), tuple(excluded[name]), companions[parent_of(name)]) for name in claimed}


def _companions(tree: Tree, stage: str, common: list[str]) -> tuple[str, ...]:
    beside = f"{stage}/{STATE_FILE}"
    return tuple(sorted([beside, *common] if stage and beside in tree.files else common))


def _owner(path: str, claimed: _Claimed) -> str | None:
    """The folder checkpoint that a path lies in."""
    while path:
        if path in claimed and claimed[path][1].unit is Unit.DIRECTORY:
            return path
        path = parent_of(path)
    return None


def _blocked(index: TreeIndex, obstacles: Mapping[str, str], claimed: _Claimed, asked: Iterable[Layout]) -> dict[str, LocalCheckpoint]:
    """Checkpoints of which nothing can be seen but their name: nobody may believe that all is saved."""
    found: dict[str, LocalCheckpoint] = {}
    for path, reason in obstacles.items():
        link = index.tree.links.get(path)
        unit = Unit.DIRECTORY if (link.is_folder if link else reason.startswith(FOLDER_REASON)) else Unit.FILE
        by = next((layout for layout in asked if layout.recognises(last_name(path), unit)), None)
        if by is not None and _owner(path, claimed) is None:
            found[path] = LocalCheckpoint(path, by.name, unit, (), broken=f"{path}: {reason}")
    return found
