"""What the fake metadata service knows, and how it misbehaves. Both are plain values that anyone may change while it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

INSTANCE_ID = "i-0123456789abcdef0"
ROLE = "spotguard-demo"


@dataclass
class Facts:
    """The documents. Mutable, because it is the world that the tests and the demo change.

    `instance_action`, `rebalance`: the document as an object, or raw text for a malformed one; None is 404. Times are RFC 3339."""

    instance_action: dict[str, Any] | str | None = None
    termination_time: str | None = None
    rebalance: dict[str, Any] | str | None = None
    maintenance: list[dict[str, Any]] | str = field(default_factory=list)
    target_state: str | None = None
    instance_id: str = INSTANCE_ID
    instance_type: str = "g5.xlarge"
    zone: str = "us-east-1a"
    region: str = "us-east-1"
    lifecycle: str = "spot"
    hidden: list[str] = field(default_factory=list)
    """Paths below /latest/ that answer 404 whatever is known."""
    credentials_code: str = "Success"
    credentials_seconds: float = 6 * 3600.0
    credentials_generation: int = 1

    def notice(self, action: str, *, seconds: float, now: datetime | None = None) -> str:
        """Mark the instance: `action` happens `seconds` from now (may be negative), at a fixed time, which is returned."""
        at = instant((now or datetime.now(UTC)) + timedelta(seconds=seconds))
        self.instance_action = {"action": action, "time": at}
        self.termination_time = at if action == "terminate" else None
        return at


@dataclass
class Behaviour:
    """The knobs. All are off by default: a faithful, healthy service."""

    mock_like: bool = False
    """Like the public mock: XHTML error pages, tab-indented JSON as application/json, no lifetime on GETs, sliding times."""
    sliding_time: bool | None = None
    """The notice's time is two minutes from every request; None: where `mock_like`."""
    disabled: bool = False
    """403 for everything: IMDS switched off on the instance."""
    hang_token: bool = False
    """The answer to the PUT never arrives: a hop limit that is too low."""
    hang_paths: list[str] = field(default_factory=list)
    """Paths below /latest/ that never answer; `*` is all."""
    drop: bool = False
    """Every connection is cut without an answer."""
    fail_next: int = 0
    """So many requests from now on are answered with `fail_status`."""
    fail_status: int = 503
    fail_paths: dict[str, int] = field(default_factory=dict)
    """Path below /latest/ -> status."""
    delay_seconds: float = 0.0
    """Before each answer."""
    clock_skew_seconds: float = 0.0
    """How far the service's clock (`Date`, and the times it computes) is ahead of the local one."""
    token_seconds: float | None = None
    """A token really lives this long, whatever was promised."""


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def documents(facts: Facts, behaviour: Behaviour, now: datetime) -> dict[str, str]:
    """All that can be read at this moment, by path below /latest/."""
    told = {
        "meta-data/instance-id": facts.instance_id,
        "meta-data/instance-type": facts.instance_type,
        "meta-data/instance-life-cycle": facts.lifecycle,
        "meta-data/placement/availability-zone": facts.zone,
        "meta-data/placement/region": facts.region,
        "meta-data/spot/termination-time": facts.termination_time,
        "meta-data/autoscaling/target-lifecycle-state": facts.target_state,
        "meta-data/spot/instance-action": _text(_sliding(facts.instance_action, behaviour, now), behaviour),
        "meta-data/events/recommendations/rebalance": _text(facts.rebalance, behaviour),
        "meta-data/events/maintenance/scheduled": _text(facts.maintenance, behaviour),
        "meta-data/events/maintenance/history": _text([], behaviour),
        "meta-data/iam/info": _text({"Code": "Success", "InstanceProfileArn": _profile()}, behaviour),
        "meta-data/iam/security-credentials/": ROLE,
        f"meta-data/iam/security-credentials/{ROLE}": _text(_credentials(facts, now), behaviour),
        "dynamic/instance-identity/document": _text(_identity(facts), behaviour),
    }
    return {path: text for path, text in told.items() if text is not None and path not in facts.hidden}


def listing(paths: list[str], folder: str) -> str | None:
    """The children of `folder` (with its slash), one per line, as the service lists them; None if it has none."""
    below = sorted(path[len(folder) :] for path in paths if path.startswith(folder) and path != folder)
    children = dict.fromkeys(f"{name}/" if slash else name for name, slash, _ in (path.partition("/") for path in below))
    return "\n".join(children) or None


def _sliding(document: dict[str, Any] | str | None, behaviour: Behaviour, now: datetime) -> dict[str, Any] | str | None:
    slides = behaviour.mock_like if behaviour.sliding_time is None else behaviour.sliding_time
    if slides and isinstance(document, dict) and "time" in document:
        return {**document, "time": instant(now + timedelta(seconds=120))}
    return document


def _text(document: Any, behaviour: Behaviour) -> str | None:
    if document is None or isinstance(document, str):
        return document
    return json.dumps(document, indent="\t") if behaviour.mock_like else json.dumps(document, separators=(",", ":"))


def _credentials(facts: Facts, now: datetime) -> dict[str, Any]:
    if facts.credentials_code != "Success":
        return {"Code": facts.credentials_code, "Message": "the role can not be assumed", "LastUpdated": instant(now)}
    generation = facts.credentials_generation
    return {
        "Code": "Success",
        "LastUpdated": instant(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": f"ASIADEMO{generation:012d}",
        "SecretAccessKey": f"demo-secret-{generation}",
        "Token": f"demo-token-{generation}",
        "Expiration": instant(now + timedelta(seconds=facts.credentials_seconds)),
    }


def _identity(facts: Facts) -> dict[str, Any]:
    return {
        "accountId": "123456789012",
        "architecture": "x86_64",
        "availabilityZone": facts.zone,
        "instanceId": facts.instance_id,
        "instanceType": facts.instance_type,
        "region": facts.region,
        "version": "2017-09-30",
    }


def _profile() -> str:
    return f"arn:aws:iam::123456789012:instance-profile/{ROLE}"
