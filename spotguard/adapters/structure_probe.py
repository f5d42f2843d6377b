"""Fallback structural checks."""

from __future__ import annotations

import json
import os

from spotguard.adapters.holding import open_to_read
from spotguard.core.structure import Finding, Structure


def probe_file(path, probe):
    try:
        fd, _ = open_to_read(path, probe.source)
    except FileNotFoundError:
        return Finding(False, f"{probe.source} is gone")
    except Exception as error:
        return Finding(False, str(error))
    try:
        size = os.fstat(fd).st_size
        kind = probe.structure
        if kind is Structure.JSON:
            try:
                document = json.loads(os.pread(fd, 64 << 20, 0))
            except ValueError as error:
                return Finding(False, f"is not JSON: {error}")
            return Finding(True, document=document if isinstance(document, dict) else {})
        if kind is Structure.SAFETENSORS:
            length = int.from_bytes(os.pread(fd, 8, 0), "little")
            if length > min(size, 100 << 20):
                return Finding(False, "its header is cut off")
            try:
                header = json.loads(os.pread(fd, length, 8))
                end = max((t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"), default=0)
            except (ValueError, KeyError, TypeError):
                return Finding(False, "its header is cut off")
            return Finding(end + 8 + length == size, "" if end + 8 + length == size else "it is cut off")
        head = os.pread(fd, 4, 0)
        tail = os.pread(fd, 66000, max(0, size - 66000))
        if kind in (Structure.TORCH_ZIP, Structure.ZIP) or head[:2] == b"PK":
            if head[:2] == b"PK":
                ok = b"PK\x05\x06" in tail
                return Finding(ok, "" if ok else "its zip end record is missing")
        return Finding(True)
    finally:
        os.close(fd)
