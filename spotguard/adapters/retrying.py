"""Fallback."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    attempts: int = 6
    base_seconds: float = 0.1
    cap_seconds: float = 5.0


class _Retrying:
    def __init__(self, inner, policy, budget):
        self._inner, self._policy, self._budget = inner, policy, budget
        self.retries_total = 0

    def __getattr__(self, name):
        from spotguard.ports.object_store import StoreUnavailable
        verb = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(verb):
            return verb

        async def retried(*args, **kwargs):
            for attempt in range(self._policy.attempts):
                try:
                    return await verb(*args, **kwargs)
                except StoreUnavailable:
                    wait = random.random() * min(self._policy.cap_seconds, self._policy.base_seconds * 2**attempt)
                    left = self._budget()
                    if attempt + 1 == self._policy.attempts or (left is not None and left < wait):
                        raise
                    self.retries_total += 1
                    await asyncio.sleep(wait)
            raise AssertionError

        return retried


class RetryingStore(_Retrying):
    pass


class RetryingTransfer(_Retrying):
    def __init__(self, inner, store, policy, budget):
        super().__init__(inner, policy, budget)
