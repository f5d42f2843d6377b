"""Many seeded stories. Promise 1 holds in each, and `safe` implies that the newest checkpoint restores."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from structlog.testing import capture_logs

from tests.faults.drilled import DrilledStory
from tests.faults.simulation import Story, Told, describe
from tests.support.virtual_time import run_virtual

SEEDS = int(os.environ.get("SPOTGUARD_SIMULATIONS", "60"))
BATCHES = 10


def play(seed: int) -> Told:
    async def main() -> Told:
        return await Story(seed).run()

    return run_virtual(main())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_story_breaks_a_promise(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        told = play(seed)
        assert not told.broken, f"seed {seed}: {told.broken}"
        if told.verdict == "safe":
            assert told.newest_restorable == told.finished[-1], f"seed {seed}: {describe(told)}"


@pytest.mark.timeout(300)
def test_the_stories_contain_what_they_are_about() -> None:
    """Kills, safe verdicts, more than one save, copies, resumed uploads and files that are sent while they are written, in vain and not,
    happen in the first seeds, else that test tests nothing."""
    with capture_logs() as logs:
        stories = [play(seed) for seed in range(20)]
    assert sum(told.kills for told in stories) > 5
    assert sum(told.verdict == "safe" for told in stories) >= 10
    assert sum(len(told.finished) > 3 for told in stories) > 7
    assert sum(told.copied > 0 for told in stories) > 7
    events = Counter(line["event"] for line in logs)
    assert events["upload.resumed"] > 0
    assert events["copy.failed"] > 0
    assert events["retention.applied"] > 0
    assert sum(line.get("streamed_bytes", 0) > 0 for line in logs) > 2
    assert events["stream.off"] > 0


@pytest.mark.timeout(300)
def test_drills_cost_the_live_run_nothing_and_a_real_notice_still_ends_as_it_would() -> None:
    drills = passed = safe = 0
    for seed in range(max(SEEDS // 6, 10)):

        async def main(seed: int = seed) -> tuple[DrilledStory, Told]:
            story = DrilledStory(seed)
            return story, await story.run()

        story, told = run_virtual(main())
        assert not told.broken, f"seed {seed}: {told.broken}"
        if told.verdict == "safe":
            safe += 1
            assert told.newest_restorable == told.finished[-1], f"seed {seed}: {describe(told)}"
        drills, passed = drills + story.drills, passed + story.passed
    assert drills > 15
    assert passed > 3
    assert safe > 3
