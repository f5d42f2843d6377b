"""Two machines on one run, many seeded stories: every manifest that can be read is whole, and who has released the run adds none."""

from __future__ import annotations

import os

import pytest

from tests.faults.two_writers import Outcome, TwoWriters
from tests.support.virtual_time import run_virtual

SEEDS = int(os.environ.get("SPOTGUARD_SIMULATIONS", "60")) // 2


def play(seed: int) -> Outcome:
    async def main() -> Outcome:
        return await TwoWriters(seed).run()

    return run_virtual(main())


@pytest.mark.timeout(300)
def test_two_writers_never_break_a_checkpoint() -> None:
    outcomes = []
    for seed in range(SEEDS):
        outcome = play(seed)
        assert not outcome.broken, f"seed {seed}: {outcome.broken}"
        assert not outcome.late, f"seed {seed}: {outcome.late}"
        outcomes.append(outcome)
    assert sum(outcome.fenced for outcome in outcomes) > SEEDS // 3
    assert sum(outcome.writers == {"i-1", "i-2"} for outcome in outcomes) > SEEDS // 2
    assert any(outcome.both_wrote_one_name for outcome in outcomes)
