"""Who writes a run: claims are numbered objects, and the highest number holds (docs/architecture.md, "One writer").

Decisions only. A newcomer waits until every claim below its own that may still write is *settled*: released, of the same host, of
a host whose drain has its recorded verdict, or silent for long enough. The argument for safety: a holder asks for the next
number every 15 s, so within 30 s it has either said that it drains (then it is given its deadline and 15 s more), or released, or
cannot reach the store at all and so writes nothing; and whatever a zombie writes later, conditional writes keep it from damage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from spotguard.core.manifest import Host, Manifest, ManifestError
from spotguard.core.run_keys import ClaimKey
from spotguard.core.stored_fields import parse_time
from spotguard.core.timestamps import format_time

CHECK_SECONDS = 15.0
"""How often the holder asks for the next number."""
RELEASE_WAIT_SECONDS = 30.0
"""How long a newcomer waits for a holder of another host that says nothing."""
DRAIN_GRACE_SECONDS = 15.0
LONGEST_DRAIN_SECONDS = 7200.0
"""No drain is believed that says it lasts longer."""
BUSY_SECONDS = 60.0
"""A claim of another host that committed within this makes `sync` refuse."""
_LOOK_BACK = 8
"""How many claims below the own one are looked at: newcomers that came and went while the holder drains."""


class ClaimPhase(StrEnum):
    WAITING = "waiting"
    """Claimed, or still trying to; nothing may be written yet."""
    HELD = "held"
    SUCCEEDED = "succeeded"
    """A higher number is there: finish what is complete, or the drain, then release."""
    FENCED = "fenced"
    """Released to a successor: nothing is written any more, and nothing claimed again."""
    RELEASED = "released"
    """Given back at a shutdown."""


@dataclass(frozen=True, slots=True)
class ClaimState:
    phase: ClaimPhase = ClaimPhase.WAITING
    number: int | None = None
    successor: int | None = None
    finish_by: float | None = None
    """While succeeded: the monotonic moment at which the newcomer stops waiting, unless a drain is announced to it."""
    waiting_for: str = ""
    """One clause for people."""

    @property
    def may_write(self) -> bool:
        return self.phase in (ClaimPhase.HELD, ClaimPhase.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Claim:
    """The body of a claim; None where a field is missing or damaged."""

    number: int
    nonce: str | None
    host: Host | None


@dataclass(frozen=True, slots=True)
class EarlierClaim:
    """What is known of a claim below the own one."""

    number: int
    host: Host | None
    released: bool = False
    held: bool = True
    """Only of a released one: whether it ever held, so that what came before it was settled by it."""
    draining_until: float | None = None
    """The deadline that it announced, seconds since the epoch, S3's clock."""
    verdict_recorded: bool = False
    """The newest interruption record of its host is newer than the claim and has a verdict."""


def encode_claim(number: int, *, nonce: str, host: Host, claimed_at: datetime, pid: int, version: str) -> bytes:
    """The body of a claim."""
    return _encode(
        {
            "claim": number,
            "nonce": nonce,
            "host": {"hostname": host.hostname, "instance_id": host.instance_id},
            "claimed_at": format_time(claimed_at),
            "pid": pid,
            "version": version,
        }
    )


def encode_release(number: int, *, nonce: str, held: bool, released_at: datetime) -> bytes:
    return _encode({"claim": number, "nonce": nonce, "held": held, "released_at": format_time(released_at)})


def encode_draining(number: int, *, nonce: str, deadline: datetime) -> bytes:
    """`deadline` on S3's clock."""
    return _encode({"claim": number, "nonce": nonce, "deadline": format_time(deadline)})


def decode_claim(number: int, body: bytes) -> Claim:
    """What a claim says of itself; a damaged one still counts by its number."""
    document = _decode(body)
    nonce, told = document.get("nonce"), document.get("host")
    host = None
    if isinstance(told, dict) and isinstance(told.get("hostname"), str):
        instance_id = told.get("instance_id")
        host = Host(told["hostname"], instance_id if isinstance(instance_id, str) else None)
    return Claim(number, nonce if isinstance(nonce, str) else None, host)


def was_held(body: bytes) -> bool:
    """What a release says; a damaged one does not count as held, so that one looks further."""
    return _decode(body).get("held") is True


def drain_end(body: bytes, *, written: float) -> float | None:
    """Until when a `draining` note asks to be waited for (seconds since the epoch), at most two hours after it was `written`."""
    try:
        told = parse_time(_decode(body).get("deadline")).timestamp()
    except ManifestError:
        return None
    return min(told, written + LONGEST_DRAIN_SECONDS)


def has_verdict(body: bytes) -> bool:
    """Whether an interruption record is of a real interruption and has its verdict."""
    document = _decode(body)
    nested = document.get("interruption")
    told = nested if isinstance(nested, dict) else document
    return told.get("verdict") in ("safe", "unsafe") and told.get("drill") is not True


def same_host(one: Host | None, other: Host | None) -> bool:
    """Instance ids decide; where neither has one, the names. Where only one has, it stays open, and that is no `yes`."""
    if one is None or other is None or (one.instance_id is None) != (other.instance_id is None):
        return False
    return one.instance_id == other.instance_id if one.instance_id else one.hostname == other.hostname


def highest(claims: Iterable[ClaimKey]) -> int:
    """The highest number claimed; 0 when there is none."""
    return max((claim.number for claim in claims if not claim.note), default=0)


def nearest_below(own: int, numbers: Iterable[int]) -> list[int]:
    """The claims below the own one that may still write, the nearest first."""
    return sorted((number for number in numbers if number < own), reverse=True)[:_LOOK_BACK]


def still_waiting_for(earlier: Iterable[EarlierClaim], *, own: Host, waited_seconds: float, store_now: float) -> tuple[EarlierClaim, ...]:
    """Which earlier claims keep a newcomer waiting, after `waited_seconds` since it claimed; `store_now` is S3's clock.

    Looks from the nearest downwards, and no further than to the first that was held and released: it had settled the rest."""
    waiting: list[EarlierClaim] = []
    for claim in sorted(earlier, key=lambda claim: claim.number, reverse=True):
        if claim.released:
            if claim.held:
                break
            continue
        if same_host(claim.host, own) or claim.verdict_recorded:
            continue
        drains = claim.draining_until is not None and store_now < claim.draining_until + DRAIN_GRACE_SECONDS
        if drains or (claim.draining_until is None and waited_seconds < RELEASE_WAIT_SECONDS):
            waiting.append(claim)
    return tuple(waiting)


def busy_elsewhere(holder: EarlierClaim | None, newest: Manifest | None, *, own: Host, now: datetime) -> str | None:
    """Why `sync` must not write now: another host's claim stands and that host committed a moment ago. None if it may.

    `holder` is the highest claim, `newest` the manifest committed last; `now` is S3's clock."""
    if holder is None or newest is None or holder.released or same_host(holder.host, own) or not same_host(holder.host, newest.host):
        return None
    seconds = (now - newest.committed_at).total_seconds()
    if seconds > BUSY_SECONDS:
        return None
    return f"{describe(newest.host)} writes this run (claim {holder.number}) and committed {newest.name} {max(seconds, 0):.0f} s ago"


def describe(host: Host | None) -> str:
    if host is None:
        return "an unknown host"
    return f"{host.instance_id} ({host.hostname})" if host.instance_id else host.hostname


def from_epoch(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _decode(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
