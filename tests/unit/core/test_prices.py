from __future__ import annotations

import pytest

from spotguard.core.prices import AS_OF, USD_PER_GB_MONTH, readable_usd, usd_per_month


def test_a_hundred_gigabytes_of_standard() -> None:
    assert usd_per_month(100 << 30, None) == pytest.approx(2.30)
    assert usd_per_month(100 << 30, "STANDARD_IA") == pytest.approx(1.25)
    assert usd_per_month(100 << 30, "GLACIER_IR") is None


def test_amounts_for_people() -> None:
    assert [readable_usd(amount) for amount in (None, 0.0, 0.001, 0.07, 1234.5)] == ["-", "$0.00", "< $0.01", "$0.07", "$1,234.50"]


def test_prices_have_their_date() -> None:
    assert AS_OF.year >= 2026
    assert all(price > 0 for price in USD_PER_GB_MONTH.values())
