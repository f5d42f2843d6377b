"""Trees and findings by hand, for tests of layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spotguard.core.checkpoint import Assessment, FileStat, Inventory, LocalCheckpoint, LocalLink, Tree
from spotguard.core.layouts.assess import assess, probes_for
from spotguard.core.layouts.base import Circumstances
from spotguard.core.layouts.identify import identify
from spotguard.core.structure import Finding, Probe

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

Documents = Mapping[str, Mapping[str, object]]


def stat(at: float = 0.0, *, size: int = 100, inode: int = 1, mode: int = 0o644) -> FileStat:
    moment = START + int(at * SECOND)
    return FileStat(size, moment, moment, 1, inode, mode)


def tree(
    *files: str,
    links: Mapping[str, LocalLink] | None = None,
    folders: Iterable[str] = (),
    unreadable: Mapping[str, str] | None = None,
    excluded: Iterable[str] = (),
    special: Iterable[str] = (),
    stats: Mapping[str, FileStat] | None = None,
) -> Tree:
    """A tree of these files, with the folders they lie in. Each is written a second after the one before."""
    known = {path: stat(at, inode=at + 1000) for at, path in enumerate(files)} | dict(stats or {})
    every = [*known, *(links or {}), *(unreadable or {}), *excluded, *special, *(f"{folder}/x" for folder in folders)]
    parents = {"/".join(path.split("/")[:depth]) for path in every for depth in range(1, path.count("/") + 1)}
    return Tree(
        files=known,
        folders={path: stat(mode=0o755) for path in sorted(parents) if path not in (unreadable or {})},
        links=dict(links or {}),
        unreadable=dict(unreadable or {}),
        excluded=frozenset(excluded),
        special=frozenset(special),
    )


def findings(
    checkpoint: LocalCheckpoint,
    documents: Mapping[str, Mapping[str, object]] | None = None,
    torn: Iterable[str] = (),
    *,
    ended: bool = False,
) -> dict[Probe, Finding]:
    """Every file is sound but those that are `torn`; `documents`: what JSON and text files hold, by path in the checkpoint, and of
    pointer files by path under the root."""
    paths = {file.source: file.path for file in checkpoint.files}
    told = {}
    for probe in probes_for(checkpoint):
        path = paths.get(probe.source, probe.source)
        told[probe] = Finding(path not in torn, "is cut off" if path in torn else "", (documents or {}).get(path, {}), ended)
    return told


def judged(
    checkpoint: LocalCheckpoint,
    *,
    quiet: float = 1e9,
    settle: float = 10.0,
    documents: Mapping[str, Mapping[str, object]] | None = None,
    torn: Iterable[str] = (),
    declared: bool = False,
    writer_died: bool = False,
    predecessor: tuple[str, ...] | None = None,
) -> Assessment:
    circumstances = Circumstances(quiet, settle, declared, writer_died, predecessor)
    return assess(checkpoint, findings(checkpoint, documents, torn), circumstances)


def found_in(*files: str, links: Mapping[str, str] | None = None, folders: tuple[str, ...] = ()) -> Inventory:
    leads = {path: LocalLink(target, target, False) for path, target in (links or {}).items()}
    return identify(tree(*files, links=leads, folders=folders))


def only(inventory: Inventory) -> LocalCheckpoint:
    (checkpoint,) = inventory.checkpoints.values()
    return checkpoint


def says(path: str, text: str) -> Documents:
    return {path: {"text": text}}
