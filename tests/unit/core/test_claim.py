"""Who writes a run: what a newcomer waits for, and when `sync` steps back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import CompleteBy, Unit
from spotguard.core.claim import (
    EarlierClaim,
    busy_elsewhere,
    decode_claim,
    drain_end,
    encode_claim,
    encode_draining,
    encode_release,
    has_verdict,
    highest,
    nearest_below,
    same_host,
    still_waiting_for,
    was_held,
)
from spotguard.core.manifest import Host, Manifest
from spotguard.core.run_keys import ClaimKey

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
OLD, NEW = Host("old", "i-old"), Host("new", "i-new")


def waiting(*earlier: EarlierClaim, waited: float = 0.0, own: Host = NEW) -> list[int]:
    return [claim.number for claim in still_waiting_for(earlier, own=own, waited_seconds=waited, store_now=NOW.timestamp())]


def test_a_silent_holder_of_another_host_is_given_thirty_seconds() -> None:
    assert waiting(EarlierClaim(7, OLD), waited=29.9) == [7]
    assert waiting(EarlierClaim(7, OLD), waited=30) == []


def test_an_unknown_host_is_another_one() -> None:
    assert waiting(EarlierClaim(7, None)) == [7]


@pytest.mark.parametrize(
    "settled",
    [
        EarlierClaim(7, OLD, released=True),
        EarlierClaim(7, NEW),
        EarlierClaim(7, OLD, verdict_recorded=True),
        EarlierClaim(7, Host("x", "i-new")),
    ],
)
def test_a_released_claim_the_same_host_and_a_recorded_verdict_are_not_waited_for(settled: EarlierClaim) -> None:
    assert waiting(settled) == []


def test_a_drain_is_waited_for_to_its_deadline_and_fifteen_seconds() -> None:
    assert waiting(EarlierClaim(7, OLD, draining_until=NOW.timestamp() - 14.9), waited=500) == [7]
    assert waiting(EarlierClaim(7, OLD, draining_until=NOW.timestamp() - 15), waited=1) == []


def test_a_newcomer_that_gave_way_does_not_hide_the_holder_below_it() -> None:
    gave_way = EarlierClaim(8, Host("third", "i-3"), released=True, held=False)
    assert waiting(gave_way, EarlierClaim(7, OLD)) == [7]
    assert waiting(gave_way, EarlierClaim(7, OLD, draining_until=NOW.timestamp() + 100), waited=60) == [7]


def test_what_a_released_holder_had_settled_is_not_looked_at_again() -> None:
    assert waiting(EarlierClaim(7, OLD, released=True, held=True), EarlierClaim(6, Host("older", "i-6"))) == []


@given(
    st.lists(
        st.builds(
            EarlierClaim,
            number=st.integers(1, 20),
            host=st.sampled_from([None, OLD, NEW]),
            released=st.booleans(),
            held=st.booleans(),
            draining_until=st.none() | st.floats(0, NOW.timestamp()),
            verdict_recorded=st.booleans(),
        ),
        unique_by=lambda claim: claim.number,
    ),
    st.floats(0, 100),
)
def test_waiting_ends(earlier: list[EarlierClaim], waited: float) -> None:
    before = still_waiting_for(earlier, own=NEW, waited_seconds=waited, store_now=NOW.timestamp())
    assert all(not claim.released for claim in before)
    assert not still_waiting_for(earlier, own=NEW, waited_seconds=30, store_now=NOW.timestamp() + 15)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Host("a", "i-1"), Host("b", "i-1"), True),
        (Host("a", "i-1"), Host("a", "i-2"), False),
        (Host("a"), Host("a"), True),
        (Host("a"), Host("b"), False),
        (Host("a", "i-1"), Host("a"), False),
        (None, Host("a"), False),
    ],
)
def test_instance_ids_decide_and_names_only_where_there_are_none(one: Host | None, other: Host, same: bool) -> None:
    assert same_host(one, other) is same_host(other, one) is same


def test_a_claim_is_read_as_it_was_written() -> None:
    claim = decode_claim(7, encode_claim(7, nonce="n", host=OLD, claimed_at=NOW, pid=4, version="1"))
    assert (claim.number, claim.nonce, claim.host) == (7, "n", OLD)
    assert b'"claimed_at":"2026-11-23T20:00:00Z"' in encode_claim(7, nonce="n", host=OLD, claimed_at=NOW, pid=4, version="1")


@given(st.binary(max_size=100) | st.sampled_from([b"[]", b"{}", b'{"host":7}', b'{"host":{"hostname":[]},"nonce":{}}', b'{"deadline":5}']))
def test_damaged_notes_say_nothing(body: bytes) -> None:
    claim = decode_claim(7, body)
    assert (claim.nonce, claim.host) == (None, None)
    assert was_held(body) is False
    assert drain_end(body, written=0.0) is None
    assert has_verdict(body) is False


def test_a_release_says_whether_the_claim_was_ever_held() -> None:
    for held in (True, False):
        assert was_held(encode_release(7, nonce="n", held=held, released_at=NOW)) is held


def test_no_drain_is_believed_that_lasts_longer_than_two_hours() -> None:
    written = NOW.timestamp()
    near, far = NOW + timedelta(seconds=100), NOW + timedelta(days=100)
    assert drain_end(encode_draining(7, nonce="n", deadline=near), written=written) == written + 100
    assert drain_end(encode_draining(7, nonce="n", deadline=far), written=written) == written + 7200


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"verdict":"safe","drill":false}', True),
        (b'{"verdict":"unsafe"}', True),
        (b'{"interruption":{"verdict":"safe"}}', True),
        (b'{"verdict":null}', False),
        (b'{"verdict":"safe","drill":true}', False),
    ],
)
def test_only_a_verdict_on_a_real_interruption_counts(body: bytes, verdict: bool) -> None:
    assert has_verdict(body) is verdict


def test_notes_are_no_claims() -> None:
    keys = [ClaimKey(3, "", "a"), ClaimKey(9, "released", "b"), ClaimKey(12, "draining", "c")]
    assert highest(keys) == 3
    assert highest([]) == 0
    assert nearest_below(5, [7, 5, 4, 1, 2]) == [4, 2, 1]


def manifest(host: Host, seconds_ago: float) -> Manifest:
    committed = NOW - timedelta(seconds=seconds_ago)
    return Manifest("c-1", "", 1, "hf-trainer", Unit.DIRECTORY, CompleteBy.MARKER, 1, committed, committed, "save", host, 0, ())


def test_sync_steps_back_only_before_another_host_that_committed_a_moment_ago() -> None:
    holder = EarlierClaim(7, OLD)
    busy = busy_elsewhere(holder, manifest(OLD, 59), own=NEW, now=NOW)
    assert busy == "i-old (old) writes this run (claim 7) and committed c-1 59 s ago"
    assert busy_elsewhere(holder, manifest(OLD, 61), own=NEW, now=NOW) is None
    assert busy_elsewhere(holder, manifest(OLD, 5), own=OLD, now=NOW) is None
    assert busy_elsewhere(holder, manifest(NEW, 5), own=NEW, now=NOW) is None
    assert busy_elsewhere(EarlierClaim(7, OLD, released=True), manifest(OLD, 5), own=NEW, now=NOW) is None
    assert busy_elsewhere(None, manifest(OLD, 5), own=NEW, now=NOW) is None
    assert busy_elsewhere(holder, None, own=NEW, now=NOW) is None
