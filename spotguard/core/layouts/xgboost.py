"""XGBoost's TrainingCheckPoint: `<name>_<round>.ubj`, a new file per save, written in place by one process, never rotated.

Facts: `python-package/xgboost/callback.py` (`.ubj` since 2.1, `.json` before, `.pkl` with `as_pickle`). A model is made in memory and
written from its first byte to its last; a document that ends is whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unit
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.file_rule import assess_file
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe

_MODEL = re.compile(r"_[0-9]+\.ubj$")
_ANY_FORM = re.compile(r"_[0-9]+\.(ubj|json|pkl)$")


class XGBoost:
    name = "xgboost"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is Unit.FILE and _MODEL.search(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        pattern = _MODEL if auto else _ANY_FORM  # `_3.json` is anybody's name
        for path in place.files:
            if pattern.search(last_name(path)):
                yield Claim(path, Unit.FILE, (path,))

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        return assess_file(checkpoint, findings, circumstances)
