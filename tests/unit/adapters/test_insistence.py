"""When a request is tried again, for how long, and what is said about it: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest
from structlog.testing import capture_logs

from spotguard.adapters.s3.insistence import Insistence
from spotguard.core.backoff import RetryPolicy
from spotguard.ports.object_store import (
    ChecksumRefused,
    ConcurrentWrite,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreRejected,
    StoreUnavailable,
)
from tests.support.virtual_time import run_virtual


def failing(errors: Iterable[StoreError], told: list[bool] | None = None) -> Callable[[bool], Awaitable[str]]:
    """Raises one after the other, then answers; `told` hears whether it was called as a repetition of something unanswered."""
    following = iter(errors)

    async def attempt(unsure: bool) -> str:
        if told is not None:
            told.append(unsure)
        for error in following:
            raise error
        return "answer"

    return attempt


def insistence(budget: Callable[[], float | None] = lambda: None, **policy: float) -> Insistence:
    return Insistence(RetryPolicy(**policy), budget, dice=lambda: 1.0)  # type: ignore[arg-type]


def test_an_unanswered_request_is_repeated_and_counted() -> None:
    insist, told = insistence(), list[bool]()

    async def story() -> float:
        assert await insist.on("read", "k", failing([StoreUnavailable("1"), StoreUnavailable("2")], told)) == "answer"
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == pytest.approx(0.2 + 0.4)
    assert insist.total == 2
    assert told == [False, True, True]


@pytest.mark.parametrize("kind", [StoreDenied, StoreRejected, ObjectMissing, ConcurrentWrite, ChecksumRefused])
def test_what_repeating_does_not_change_is_not_repeated(kind: type[StoreError]) -> None:
    insist = insistence()
    with pytest.raises(kind):
        run_virtual(insist.on("read", "k", failing([kind("no")])))
    assert insist.total == 0


def test_conflicts_and_bad_sums_are_repeated_where_that_is_sane() -> None:
    insist, told = insistence(), list[bool]()
    assert run_virtual(insist.on("create", "k", failing([ConcurrentWrite("409")] * 3, told), conflicts=True)) == "answer"
    assert not any(told)
    with pytest.raises(ChecksumRefused):
        run_virtual(insist.on("put", "k", failing([ChecksumRefused("x")] * 3), bad_sums=True))
    assert insist.total == 5


def test_without_a_deadline_it_gives_up_after_the_attempts() -> None:
    insist, told = insistence(attempts=3), list[bool]()
    with pytest.raises(StoreUnavailable):
        run_virtual(insist.on("read", "k", failing([StoreUnavailable("no")] * 9, told)))
    assert len(told) == 3


def test_under_a_deadline_it_goes_on_until_just_before() -> None:
    told = list[bool]()

    async def story() -> float:
        loop = asyncio.get_running_loop()
        insist = insistence(lambda: 60.0 - loop.time(), attempts=3)
        with pytest.raises(StoreUnavailable):
            await insist.on("read", "k", failing([StoreUnavailable("no")] * 1000, told))
        return loop.time()

    assert 59.9 < run_virtual(story()) < 60
    assert 10 < len(told) < 40


def test_nothing_is_begun_when_no_time_is_left() -> None:
    told = list[bool]()
    with pytest.raises(StoreUnavailable, match="no time"):
        run_virtual(insistence(lambda: 0.0).on("read", "k", failing([], told)))
    assert told == []


def test_an_outage_is_one_line_and_its_end_another_with_the_count() -> None:
    insist = insistence(attempts=4)

    async def story() -> None:
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await insist.on("read", "k", failing([StoreUnavailable("no")] * 9))
        await insist.on("read", "k", failing([]))
        await insist.on("read", "k", failing([StoreUnavailable("flicker")]))

    with capture_logs() as lines:
        run_virtual(story())
    assert [(line["event"], line["failures"]) for line in lines] == [("request.failed", 1), ("request.recovered", 20)]


def test_an_answer_to_an_older_request_ends_no_outage() -> None:
    insist = insistence(attempts=1)

    async def slow(_: bool) -> str:
        await asyncio.sleep(5)
        return "answer"

    async def story() -> None:
        older = asyncio.create_task(insist.on("read", "old", slow))
        await asyncio.sleep(1)
        with pytest.raises(StoreUnavailable):
            await insist.on("read", "k", failing([StoreUnavailable("no")]))
        await older

    with capture_logs() as lines:
        run_virtual(story())
    assert [line["event"] for line in lines] == ["request.failed"]
