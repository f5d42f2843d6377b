"""The real clocks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class SystemClock:
    def wall(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
