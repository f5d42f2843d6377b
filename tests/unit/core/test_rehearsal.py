"""The one sentence that a drill comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.exposure import Outlook
from spotguard.core.rehearsal import Asks, Rehearsed, conclude
from spotguard.core.status import GivenUp

GB = 1_000_000_000
SAVED = Rehearsed(Asks.SAVE, 115.0, "SIGUSR2", 0.04, 31.2, 58.1, "checkpoint-120", safe=True, steps_at_risk=30.6, last_commit_seconds=40)
TOO_LARGE = Outlook(80 * GB, 0.0, 256.0, 115.0)
FITS = Outlook(10 * GB, 31.0, 27.0, 115.0)
NOBODY_ASKED = Rehearsed(Asks.NOTHING, 115.0, safe=True, steps_at_risk=30.6)


@pytest.mark.parametrize(
    ("seen", "passed", "sentence"),
    [
        (
            SAVED,
            True,
            "if this machine is taken now you lose 0 steps: signalled in 40 ms, saved in 31 s, committed at 58 s, 57 s to spare",
        ),
        (
            replace(SAVED, committed_seconds=None, checkpoint=None, safe=False, outlook=TOO_LARGE),
            False,
            "if this machine is taken now you lose about 31 steps: 80 GB needs 256 s of 115 s: save every 5 min, or 6 Gbit/s",
        ),
        (
            replace(SAVED, committed_seconds=None, checkpoint=None, safe=False, steps_at_risk=None),
            False,
            "if this machine is taken now you lose the training since the last commit, 40 s ago: no checkpoint that the trainer began "
            "after SIGUSR2 was committed within 115 s; see what that signal does in it",
        ),
        (
            replace(SAVED, asks=Asks.STOP, committed_seconds=None, checkpoint=None, trainer_ended=True, signal="SIGTERM"),
            False,
            "if this machine is taken now you lose about 31 steps: the trainer ended on SIGTERM without saving; set the signal on which it "
            "saves (docs/trainers.md)",
        ),
        (
            replace(SAVED, signalled_seconds=None, committed_seconds=None, checkpoint=None),
            False,
            "if this machine is taken now you lose about 31 steps: no trainer was found to be signalled; check trainer.pid_file, .process, "
            ".systemd_unit or .docker_container",
        ),
        (
            NOBODY_ASKED,
            False,
            "if this machine is taken now you lose about 31 steps: nobody is asked to save at a notice; set trainer.signal, and "
            "trainer.checkpoint_signal to rehearse it",
        ),
        (
            replace(NOBODY_ASKED, signal="SIGTERM", outlook=FITS),
            True,
            "if this machine is taken now you should lose 0 steps: by earlier ones a save takes 31 s and sending it 27 s of 115 s; the "
            "trainer was not asked: set trainer.checkpoint_signal, or drill with --stop to send SIGTERM",
        ),
        (
            replace(NOBODY_ASKED, notice_file=True, outlook=FITS),
            True,
            "if this machine is taken now you should lose 0 steps: by earlier ones a save takes 31 s and sending it 27 s of 115 s; the "
            "trainer was not asked: a drill writes no notice file",
        ),
        (
            replace(NOBODY_ASKED, signal="SIGTERM", outlook=TOO_LARGE),
            False,
            "if this machine is taken now you lose about 31 steps: 80 GB needs 256 s of 115 s: save every 5 min, or 6 Gbit/s",
        ),
        (
            replace(NOBODY_ASKED, signal="SIGTERM"),
            False,
            "if this machine is taken now nobody can tell what you lose: no save was measured yet; the trainer was not asked: set "
            "trainer.checkpoint_signal, or drill with --stop to send SIGTERM",
        ),
        (
            replace(NOBODY_ASKED, safe=False, given_up=(GivenUp("checkpoint-9", "needs 20 s of the 12 s left"),), steps_at_risk=None),
            False,
            "if this machine is taken now you lose all of the training so far: checkpoint-9: needs 20 s of the 12 s left; save smaller or "
            "more often, or get a faster link",
        ),
        (replace(SAVED, taken_over="terminate"), False, "the drill was given up: a real notice came (terminate)"),
    ],
)
def test_each_outcome_says_what_would_be_lost_or_what_to_change(seen: Rehearsed, passed: bool, sentence: str) -> None:
    report = conclude(seen)
    assert (report.passed, report.sentence) == (passed, sentence)


seconds = st.none() | st.floats(0, 300)


@given(
    st.builds(
        Rehearsed,
        asks=st.sampled_from(Asks),
        notice_seconds=st.floats(0.3, 295),
        signal=st.sampled_from([None, "SIGUSR1"]),
        signalled_seconds=seconds,
        saved_seconds=seconds,
        committed_seconds=seconds,
        checkpoint=st.sampled_from([None, "a"]),
        safe=st.booleans(),
        why_unsafe=st.sampled_from(["", "a checkpoint was still being written"]),
        given_up=st.sampled_from([(), (GivenUp("a", "b"),)]),
        trainer_ended=st.booleans(),
        steps_at_risk=seconds,
        last_commit_seconds=seconds,
        outlook=st.sampled_from([None, FITS, TOO_LARGE]),
        taken_over=st.sampled_from([None, "stop"]),
    )
)
def test_a_drill_is_only_passed_with_a_verdict_of_safe_and_always_ends_in_one_line(seen: Rehearsed) -> None:
    report = conclude(seen)
    assert not report.passed or (seen.safe and seen.taken_over is None and report.steps_lost == 0)
    assert report.passed == ("lose 0 steps" in report.sentence)
    assert report.sentence
    assert "\n" not in report.sentence
