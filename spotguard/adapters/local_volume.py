"""Fallback volume."""

from __future__ import annotations

import asyncio
import os
import shutil

from spotguard.adapters.exclusion import Exclusion
from spotguard.adapters.filesystem_type import filesystem_type, is_remote
from spotguard.adapters.holding import checksum_of, file_stat, hold, read_at_most
from spotguard.adapters.scanning import Scanner
from spotguard.adapters.structure_probe import probe_file


class LocalVolume:
    def __init__(self, root, *, exclude=(), follow_links=False):
        self._root = str(root)
        self._scanner = Scanner(self._root, Exclusion(exclude), follow_links=follow_links)
        self._findings = {}

    def _abs(self, source):
        return source if os.path.isabs(source) else os.path.join(self._root, source)

    async def scan(self, folders=None):
        return await asyncio.to_thread(self._scanner.scan, folders)

    async def probe(self, probes):
        def look():
            return {p: self._findings.setdefault(p, probe_file(self._abs(p.source), p)) if p not in self._findings else self._findings[p] for p in probes}
        return await asyncio.to_thread(look) if probes else {}

    async def stat(self, sources):
        def look():
            found = {}
            for s in sources:
                try:
                    found[s] = file_stat(os.stat(self._abs(s)))
                except OSError:
                    found[s] = None
            return found
        return await asyncio.to_thread(look)

    async def hold(self, source):
        return hold(self._abs(source), source)

    async def checksum(self, held):
        return await asyncio.to_thread(checksum_of, held.fd)

    async def read(self, source, max_bytes):
        return await asyncio.to_thread(read_at_most, self._abs(source), source, max_bytes)

    async def free_bytes(self):
        return shutil.disk_usage(self._root).free

    def holds_are_safe(self):
        return not is_remote(filesystem_type(self._root))
