"""What the metadata service's documents mean, in both dialects and when they are odd."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotguard.core.notice import NoticeKind
from spotguard.core.notice_parsing import (
    NoticeUnreadable,
    parse_instance_action,
    parse_maintenance,
    parse_rebalance,
    parse_service_time,
    parse_target_state,
)

SEEN = datetime(2026, 11, 23, 8, 20, tzinfo=UTC).timestamp()
AT = datetime(2026, 11, 23, 8, 22, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
@pytest.mark.parametrize("indent", [None, "\t"])
def test_an_action_and_its_time_are_read_compact_or_indented(action: str, indent: str | None) -> None:
    body = json.dumps({"action": action, "time": "2026-11-23T08:22:00Z"}, indent=indent).encode()
    notice = parse_instance_action(body, SEEN)
    assert (notice.kind, notice.at, notice.seen_date) == (NoticeKind(action), AT, SEEN)
    assert notice.reference == f"{action} 2026-11-23T08:22:00Z"


@pytest.mark.parametrize("time", ["soon", None, 17, "", "2026-13-45T00:00:00Z", {"x": 1}])
def test_an_action_whose_time_cannot_be_read_counts_as_two_minutes_from_now(time: object) -> None:
    notice = parse_instance_action(json.dumps({"action": "terminate", "time": time}).encode(), SEEN)
    assert (notice.kind, notice.at) == (NoticeKind.TERMINATE, SEEN + 120)


def test_an_action_without_any_time_counts_as_two_minutes_from_now() -> None:
    assert parse_instance_action(b'{"action":"stop"}', SEEN).at == SEEN + 120


def test_an_unknown_action_counts_as_terminate() -> None:
    notice = parse_instance_action(b'{"action":"vaporise","time":"2026-11-23T08:22:00Z"}', SEEN)
    assert notice.kind is NoticeKind.TERMINATE
    assert "vaporise" in notice.text


@pytest.mark.parametrize(
    "body",
    [b"", b"<?xml version='1.0'?><html/>", b'{"action": "termi', b"[]", b"null", b'{"time":"x"}', b'{"action":7}', b'{"action":" "}'],
)
def test_what_is_no_notice_is_never_taken_for_one(body: bytes) -> None:
    with pytest.raises(NoticeUnreadable):
        parse_instance_action(body, SEEN)


@given(st.binary(max_size=200))
def test_no_bytes_break_a_parser(body: bytes) -> None:
    for parse in (parse_instance_action, parse_rebalance, parse_maintenance, parse_target_state):
        with suppress(NoticeUnreadable):
            parse(body, SEEN)


@settings(max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))
def test_no_json_value_breaks_a_parser(value: object) -> None:
    body = json.dumps([{"State": value, "NotBefore": value, "EventId": value, "Code": value}, value]).encode()
    parse_maintenance(body, SEEN)
    parse_rebalance(json.dumps({"noticeTime": value}).encode(), SEEN)
    parse_instance_action(json.dumps({"action": "stop", "time": value}).encode(), SEEN)


def test_a_rebalance_tells_when_it_was_given() -> None:
    notice = parse_rebalance(b'{"noticeTime": "2026-11-23T08:22:00Z"}', SEEN)
    assert (notice.kind, notice.at) == (NoticeKind.REBALANCE, AT)
    assert parse_rebalance(b"{}", SEEN).at is None
    with pytest.raises(NoticeUnreadable):
        parse_rebalance(b"[]", SEEN)


def event(**changes: object) -> dict[str, object]:
    return {
        "NotBefore": "21 Jan 2019 09:00:43 GMT",
        "Code": "system-reboot",
        "Description": "scheduled reboot",
        "EventId": "instance-event-0d59",
        "NotAfter": "21 Jan 2019 09:17:23 GMT",
        "State": "active",
    } | changes


def test_only_events_that_are_still_to_come_are_notices() -> None:
    events = [event(), event(State="completed"), event(State="canceled"), event(EventId="instance-event-1", State="ACTIVE"), 7]
    notices = parse_maintenance(json.dumps(events).encode(), SEEN)
    assert [notice.reference for notice in notices] == ["instance-event-0d59", "instance-event-1"]
    assert notices[0].at == datetime(2019, 1, 21, 9, 0, 43, tzinfo=UTC).timestamp()
    assert notices[0].text == "system-reboot: scheduled reboot"


def test_an_event_without_a_readable_start_is_shown_without_a_time() -> None:
    (notice,) = parse_maintenance(json.dumps([event(NotBefore="next week")]).encode(), SEEN)
    assert notice.at is None


def test_no_events_is_an_empty_array_and_anything_else_is_unreadable() -> None:
    assert parse_maintenance(b"[]", SEEN) == ()
    with pytest.raises(NoticeUnreadable):
        parse_maintenance(b"{}", SEEN)


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        ("Terminated", True), ("Warmed:Terminated", True), ("Warmed:Stopped", True), ("Warmed:Hibernated", True), ("Terminated\n", True),
        ("InService", False), ("Detached", False), ("Standby", False), ("Warmed:Running", False), ("", False), ("<html>", False),
    ],
)  # fmt: skip
def test_the_target_state_means_scale_in_only_where_the_machine_will_not_run_on(state: str, goes: bool) -> None:
    notice = parse_target_state(state.encode(), SEEN)
    assert (notice is not None) is goes
    if notice:
        assert (notice.kind, notice.at) == (NoticeKind.SCALE_IN, None)


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2026-11-23T08:22:00Z", (2026, 11, 23, 8, 22, 0)),
        ("2026-11-23T09:22:00+01:00", (2026, 11, 23, 8, 22, 0)),
        ("2026-11-23T08:22:00.000Z", (2026, 11, 23, 8, 22, 0)),
        (" 2026-11-23T08:22:00 ", (2026, 11, 23, 8, 22, 0)),
        ("1 Feb 2027 00:00:01 GMT", (2027, 2, 1, 0, 0, 1)),
        ("01 FEB 2027 00:00:01 GMT", (2027, 2, 1, 0, 0, 1)),
    ],
)
def test_times_are_read_in_both_formats(told: str, moment: tuple[int, int, int, int, int, int]) -> None:
    assert parse_service_time(told) == datetime(*moment, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "told",
    ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "31 Feb 2026 00:00:00 GMT", "1 Foo 2026 00:00:00 GMT", 5, None],
)
def test_times_that_do_not_exist_are_no_times(told: object) -> None:
    assert parse_service_time(told) is None
