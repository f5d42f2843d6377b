"""A daemon behind its HTTP interface that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.notice import NoticeKind
from spotguard.core.problem import Problem, ProblemCode, Severity
from spotguard.core.rehearsal import Asks, DrillReport
from spotguard.core.status import (
    BacklogStatus,
    CheckpointStatus,
    DaemonState,
    ExposureStatus,
    GivenUp,
    InstanceStatus,
    InterruptionStatus,
    MetadataServiceStatus,
    Status,
    StoreStatus,
    TrainerStatus,
    UploadStatus,
)
from spotguard.core.tally import Tally
from spotguard.ports.daemon_control import DrillRefused, FlushOutcome, UnknownCheckpoint
from spotguard.services.published import Published

NOON = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)

CHECKPOINT = CheckpointStatus("sft/checkpoint-100", "sft", 100, CheckpointState.COMMITTED, 9, 1, 1, 1, NOON, NOON)

STATUS = Status(
    version="0.1.0",
    state=DaemonState.WATCHING,
    since=NOON,
    instance=InstanceStatus("i-0abc", "g5.xlarge", "eu-west-1a", "spot"),
    trainer=TrainerStatus(True, (41, 42), None),
    checkpoints=(CHECKPOINT,),
    backlog=BacklogStatus(2, 3072, 1.5),
    exposure=ExposureStatus(12.0, None, None, 3.1, True, 1),
    upload=UploadStatus(0, 123456, 7),
    imds=MetadataServiceStatus("required", True, NOON, None),
    store=StoreStatus(True, None),
    problems=(Problem(ProblemCode.IMDS_BLIND, Severity.WARNING, NOON, "no answer", "raise the hop limit"),),
    run="s3://b/run1",
    watch_dir="/data/out",
)

INTERRUPTION = InterruptionStatus(NoticeKind.TERMINATE, False, NOON, NOON, NOON, given_up=(GivenUp("sft/checkpoint-90", "does not fit"),))


class FakeControl:
    def __init__(self) -> None:
        self.current = STATUS
        self.reasons: tuple[str, ...] = ()
        self.notice: Published[InterruptionStatus | None] = Published(None)
        self.outcome = FlushOutcome(("sft/checkpoint-100",), (("sft/checkpoint-110", "no trainer_state.json yet"),))
        self.flush_waits: list[float] = []
        self.interruption_waits: list[float] = []
        self.polls = Published(0)
        """How many have asked for an interruption."""
        self.declared: list[str] = []
        self.drills: list[tuple[float, Asks | None, bool]] = []
        self.drilled: DrillReport | None = None
        self.known = {"sft/checkpoint-100"}
        self.drill_refusal: str | None = None
        self.broken = False

    def status(self) -> Status:
        if self.broken:
            raise RuntimeError("the status is broken")
        return replace(self.current, interruption=self.notice.value)

    def durations(self) -> Mapping[str, Tally]:
        return {"commit_latency": Tally().with_one(0.2).with_one(700.0), "drain": Tally()}

    def ready(self) -> tuple[str, ...]:
        return self.reasons

    async def interruption(self, wait_seconds: float) -> InterruptionStatus | None:
        self.interruption_waits.append(wait_seconds)
        self.polls.publish(self.polls.value + 1)
        try:
            async with asyncio.timeout(wait_seconds):
                return await self.notice.until(lambda notice: notice is not None)
        except TimeoutError:
            return None

    async def flush(self, wait_seconds: float) -> FlushOutcome:
        self.flush_waits.append(wait_seconds)
        return self.outcome

    def declare_complete(self, name: str) -> None:
        if name not in self.known:
            raise UnknownCheckpoint(f"no checkpoint {name} lies in the watched folder")
        self.declared.append(name)

    async def drill(self, seconds: float, *, asks: Asks | None = None, hooks: bool = False) -> None:
        if self.drill_refusal:
            raise DrillRefused(self.drill_refusal)
        self.drills.append((seconds, asks, hooks))

    async def drill_report(self, wait_seconds: float) -> DrillReport | None:
        return self.drilled
