"""A metadata service that says what a test scripts: the port without HTTP, for real or virtual time.

Set `notices` to what stands now; faults are knobs. `wall` is the service's clock, of which `Date` is the whole second.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import datetime

from spotguard.core.notice import Instance, Notice, NoticeKind, Sighting
from spotguard.ports.metadata_service import MetadataUnavailable


class MemoryMetadataService:
    """`fails_next`: so many polls fail. `unavailable`: all fail, with this error. `delay_seconds`: before each answer. `hangs`:
    polls never answer. `silent`: kinds whose source does not answer. `polls` has the loop time at which each poll began."""

    def __init__(self, wall: Callable[[], datetime], instance: Instance | None = None) -> None:
        self.wall = wall
        self.instance = instance or Instance("i-0123456789abcdef0", "g5.xlarge", "us-east-1a", "spot", "us-east-1")
        self.unavailable: MetadataUnavailable | None = None
        self.fails_next = 0
        self.delay_seconds = 0.0
        self.hangs = False
        self.silent: frozenset[NoticeKind] = frozenset()
        self.polls: list[float] = []
        self._standing: dict[NoticeKind, tuple[float | None, str]] = {}

    def give(self, kind: NoticeKind, *, seconds: float | None = None, reference: str | None = None) -> float | None:
        """From now on there is this notice, `seconds` ahead on the service's clock; returns its time."""
        at = None if seconds is None else math.floor(self.wall().timestamp()) + seconds
        self._standing[kind] = (at, reference if reference is not None else f"{kind.value} {at}")
        return at

    def withdraw(self, kind: NoticeKind) -> None:
        self._standing.pop(kind, None)

    async def poll(self) -> Sighting:
        self.polls.append(asyncio.get_running_loop().time())
        await self._answer()
        date = float(math.floor(self.wall().timestamp()))
        told = tuple(
            Notice(kind, at, date, kind.value, reference) for kind, (at, reference) in self._standing.items() if kind not in self.silent
        )
        return Sighting(told, self.silent)

    async def identity(self) -> Instance:
        await self._answer()
        return self.instance

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.fails_next > 0:
            self.fails_next -= 1
            raise MetadataUnavailable("no answer (injected)", "wait")
        if self.unavailable is not None:
            raise self.unavailable
