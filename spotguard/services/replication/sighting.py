"""What one look at the disk comes to, before anything is done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spotguard.core.checkpoint import Inventory, Tree
from spotguard.core.layouts.identify import identify
from spotguard.core.loose_survey import LooseKnowledge, LooseSurvey, survey


@dataclass(frozen=True, slots=True)
class Sighting:
    inventory: Inventory
    loose: LooseSurvey
    cpu_seconds: float
    """What it took to make this out."""


def make_out(tree: Tree, layout: str, known: LooseKnowledge, cpu: Callable[[], float]) -> Sighting:
    """Values out of values. `cpu`: of the thread that calls. Raises KeyError for a layout that does not exist."""
    began = cpu()
    inventory = identify(tree, layout)
    loose = survey(inventory.loose_folders, known)
    return Sighting(inventory, loose, cpu() - began)
