"""The garbage collector around imports."""

from __future__ import annotations

import gc

import pytest

from spotguard.cli.loading import collector_paused


def _fail_while_loading(seen: list[bool]) -> None:
    with collector_paused():
        seen.append(gc.isenabled())
        raise ImportError


def test_the_collector_rests_inside_and_works_again_afterwards_also_after_a_failure() -> None:
    seen: list[bool] = []
    with pytest.raises(ImportError):
        _fail_while_loading(seen)
    assert seen == [False]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
