"""Restores the links that lead to a checkpoint from beside it, as `last.ckpt` does: by them a trainer finds it."""

from __future__ import annotations

from datetime import datetime

from spotguard.core.checkpoint import Tree
from spotguard.core.manifest import Manifest, ManifestLink
from spotguard.core.recovery import quarantine_name
from spotguard.ports.placement import Move, Placement
from spotguard.services.restore.restore_outcome import MovedAside

_STAGED = "link"


async def restore_links(placement: Placement, manifest: Manifest, tree: Tree, now: datetime) -> list[MovedAside]:
    """Each leads to the checkpoint when this returns; what had its name is moved aside. `tree`: what lay here before.

    Raises PlacementFailed, PlacementRefused; cancelled or failed, a link either leads to the checkpoint or is as it was, or absent."""
    moved = []
    for link in manifest.links_beside:
        lying = tree.links.get(link.path)
        if lying is not None and lying.target == link.target:
            continue
        if aside := await _restore(placement, link, now):
            moved.append(MovedAside(link.path, aside, "a link to the restored checkpoint has its place"))
    return moved


async def _restore(placement: Placement, link: ManifestLink, now: datetime) -> str | None:
    stage = await placement.stage(link.path, link.target)
    try:
        await stage.keep_only(())
        await stage.link(_STAGED, link.target)
        return await placement.publish(stage, [Move(_STAGED, link.path)], aside=quarantine_name(link.path, now))
    finally:
        await stage.end(keep=False)
