"""Answers questions about the inside of files, and remembers the answers."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from spotguard.adapters.disk.holding import open_to_read
from spotguard.core.structure import Finding, Probe
from spotguard.ports.checkpoint_volume import CannotRead

_MOST_REMEMBERED = 30_000


class StructureProbe:
    """May be called from several threads."""

    def __init__(self, root: str, *, most_remembered: int = _MOST_REMEMBERED) -> None:
        self._root = root
        self._most_remembered = most_remembered
        self._remembered: OrderedDict[Probe, Finding] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, probe: Probe) -> Finding:
        """The finding; what is gone, changed since its stat, or cannot be read is not sound, and asked again the next time."""
        with self._lock:
            if (known := self._remembered.get(probe)) is not None:
                self._remembered.move_to_end(probe)
                return known
        try:
            fd, found = open_to_read(os.path.join(self._root, probe.source), probe.source)
        except FileNotFoundError:
            return Finding(False, f"{probe.source} is gone")
        except CannotRead as error:
            return Finding(False, str(error))
        try:
            if found[:5] != probe.stat[:5]:
                return Finding(False, f"{probe.source} has changed")
            from spotguard.adapters.structure.file_structure import finding_of  # every format: only for who has something to look into

            finding = finding_of(fd, probe.structure)
        except OSError as error:
            return Finding(False, f"{probe.source}: {error.strerror or error}")
        finally:
            os.close(fd)
        self._remember(probe, finding)
        return finding

    def _remember(self, probe: Probe, finding: Finding) -> None:
        with self._lock:
            self._remembered[probe] = finding
            while len(self._remembered) > self._most_remembered:
                self._remembered.popitem(last=False)
