"""The command of the trainer, with its placeholders filled or dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.placeholders import ResumePoint, fill

POINT = ResumePoint("/out/sft/checkpoint-5", "sft", 5)
FRESH = ResumePoint()


@pytest.mark.parametrize(
    ("command", "resumed", "fresh"),
    [
        ("train --resume {checkpoint}", "train --resume /out/sft/checkpoint-5", "train"),
        ("train --resume={checkpoint} -v", "train --resume=/out/sft/checkpoint-5 -v", "train -v"),
        ("train {checkpoint} {stage} {step}", "train /out/sft/checkpoint-5 sft 5", "train"),
        ("train -q --a {stage} {step} x", "train -q --a sft 5 x", "train -q x"),
        ("train file {stage}", "train file sft", "train file"),
        ("train -c {stage} -d", "train -c sft -d", "train -d"),
        ("train -1 {step}", "train -1 5", "train -1"),
        ("train log-{step}.txt --x=a{stage}", "train log-5.txt --x=asft", "train log-.txt --x=a"),
        ('train {"a":{}} ${HOME} {other}', 'train {"a":{}} ${HOME} {other}', 'train {"a":{}} ${HOME} {other}'),
        ("{stage} x", "sft x", " x"),
    ],
)
def test_placeholders(command: str, resumed: str, fresh: str) -> None:
    assert list(fill(command.split(" "), POINT)) == resumed.split(" ")
    assert list(fill(command.split(" "), FRESH)) == fresh.split(" ")


def test_the_environment_says_the_same_and_is_empty_when_fresh() -> None:
    assert dict(POINT.environment) == {
        "SPOTGUARD_CHECKPOINT": "/out/sft/checkpoint-5",
        "SPOTGUARD_STAGE": "sft",
        "SPOTGUARD_STEP": "5",
    }
    assert set(FRESH.environment.values()) == {""}


@given(st.lists(st.text(alphabet="ab-={} ", max_size=8), max_size=6))
def test_a_command_without_placeholders_is_not_touched(command: list[str]) -> None:
    assert fill(command, FRESH) == tuple(command)


def test_a_value_that_looks_like_a_placeholder_is_not_replaced_again() -> None:
    assert fill(["t", "{checkpoint}"], ResumePoint("/out/{step}/x-1", "", 1)) == ("t", "/out/{step}/x-1")
