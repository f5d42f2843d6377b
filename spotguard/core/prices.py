"""What keeping bytes in S3 costs, in one table with its date.

From public price lists, us-east-1, first 50 TB a month; other regions cost up to half as much again, and requests, transfer and
retrieval come on top. For an estimate that tells cents from hundreds of dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

AS_OF = date(2026, 11, 23)
REGION = "us-east-1"

USD_PER_GB_MONTH: Mapping[str, float] = MappingProxyType({"STANDARD": 0.023, "STANDARD_IA": 0.0125, "EXPRESS_ONEZONE": 0.11})
"""By storage class; S3 bills a GB as 2^30 bytes."""

_GB = 1 << 30


def usd_per_month(stored_bytes: int, storage_class: str | None) -> float | None:
    """What so many bytes cost a month; None for a class without a price here. No class is `STANDARD`."""
    price = USD_PER_GB_MONTH.get(storage_class or "STANDARD")
    return None if price is None else stored_bytes / _GB * price


def readable_usd(amount: float | None) -> str:
    """`$0.07`, `< $0.01`, `$1,234.50`, or a dash where nothing is known."""
    if amount is None:
        return "-"
    return "< $0.01" if 0 < amount < 0.005 else f"${amount:,.2f}"
