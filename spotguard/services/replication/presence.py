"""Asks now and then whether what was committed is still in the bucket: a lifecycle rule, or somebody with `aws s3 rm`, tells nobody.

Without it a daemon would say `safe` of a run that has been deleted under it. What is gone and still lies on disk is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from spotguard.ports.object_store import StoreError
from spotguard.services.replication.committed import Committed

log = structlog.get_logger()

EVERY_SECONDS = 300.0


class Presence:
    def __init__(self, committed: Committed) -> None:
        self._committed = committed
        self.on_vanished: Callable[[Collection[str]], None] = lambda names: None
        """Hears the names whose commits are gone."""
        self._doubt = asyncio.Event()

    def doubt(self) -> None:
        """Something of the run is known to be gone: ask now."""
        self._doubt.set()

    async def run(self) -> None:
        """Ask until cancelled. A store that does not answer is asked again later; others tell that it does not."""
        while True:
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._doubt.wait()
            except TimeoutError:
                pass
            self._doubt.clear()
            try:
                gone = await self._committed.vanished()
            except StoreError as error:
                log.debug("commits.not_checked", error=str(error))
                continue
            if gone:
                log.error("commits.vanished", names=sorted(gone), cost="what is still on disk is sent again")
                self.on_vanished(gone)
