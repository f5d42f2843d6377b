"""One file under one name, written over at each save: nanoGPT's `ckpt.pt` and what plain loops do.

Facts: `train.py` of nanoGPT; torch.save over an existing file cuts it off and writes it anew under the same inode, so a crash in its
middle leaves no good copy on the disk. The step is in the pickle, and so unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from spotguard.core.checkpoint import Assessment, LocalCheckpoint, Unit
from spotguard.core.layouts import soundness
from spotguard.core.layouts.base import Circumstances, Claim
from spotguard.core.layouts.file_rule import assess_file
from spotguard.core.layouts.generic_file import is_export
from spotguard.core.layouts.tree_index import Place, last_name
from spotguard.core.structure import Finding, Probe
from spotguard.core.temporary import looks_temporary

_NAME = re.compile(r"^[^0-9]*\.(pt|pth|ckpt|safetensors|npz)$")
"""No number in it: the next save has the same name."""


class SingleFile:
    name = "single-file"

    def recognises(self, last_name: str, unit: Unit = Unit.FILE) -> bool:
        return unit is Unit.FILE and _NAME.match(last_name) is not None

    def claims(self, place: Place, *, auto: bool) -> Iterator[Claim]:
        for path in place.files:
            name = last_name(path)
            if self.recognises(name) and not looks_temporary(name) and not (auto and is_export(place, name)):
                yield Claim(path, Unit.FILE, (path,), in_place=True)

    def probes(self, checkpoint: LocalCheckpoint) -> tuple[Probe, ...]:
        return soundness.probes_of(checkpoint)

    def assess(self, checkpoint: LocalCheckpoint, findings: Mapping[Probe, Finding], circumstances: Circumstances) -> Assessment:
        return assess_file(checkpoint, findings, circumstances)
