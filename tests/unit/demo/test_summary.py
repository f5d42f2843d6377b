"""The demo fails when the promise was not kept, whatever the story said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spotguard.demo.summary import PromiseBroken, Summary

KEPT = Summary(
    stopped_at_step=37,
    resumed_at_step=37,
    resumed_from="checkpoint-37",
    finished_at_step=60,
    identical_to_uninterrupted=True,
    seconds_left_at_verdict=9.0,
)


def test_a_kept_promise_passes() -> None:
    KEPT.check()
    assert KEPT.as_json()["promise_kept"] is True
    assert KEPT.as_json()["steps_lost"] == 0


@pytest.mark.parametrize(
    "broken",
    [
        replace(KEPT, resumed_at_step=30),
        replace(KEPT, resumed_at_step=38),
        replace(KEPT, identical_to_uninterrupted=False),
        replace(KEPT, seconds_left_at_verdict=-0.1),
    ],
)
def test_a_broken_promise_raises_and_is_no_kept_one_in_json(broken: Summary) -> None:
    with pytest.raises(PromiseBroken):
        broken.check()
    assert broken.as_json()["promise_kept"] is False
