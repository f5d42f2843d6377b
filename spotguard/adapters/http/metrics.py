"""`/metrics`: everything is derived from one status snapshot at scrape time, so no counter has to be kept in step with the truth.

Base units (seconds, bytes, 0 or 1), `_total` on what only grows, and no series for what is not known: an absent value is not zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from spotguard.core.checkpoint import CheckpointState
from spotguard.core.problem import ProblemCode
from spotguard.core.status import DaemonState, Status
from spotguard.core.tally import Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_DURATIONS: Final = {
    "commit_latency": "From the last byte that the trainer wrote to the commit.",
    "upload": "Of a checkpoint, from its first byte to send to its commit.",
    "signal": "From the sighting of a notice to the trainer's signal.",
    "drain": "From the sighting of a notice to the verdict.",
}

Value = float | datetime | None


class StatusCollector(Collector):
    def __init__(self, status: Callable[[], Status], durations: Callable[[], Mapping[str, Tally]]) -> None:
        self._status = status
        self._durations = durations

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not take a snapshot before the daemon has one."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _identity(status)
        yield from _checkpoints(status)
        yield from _exposure(status)
        yield from _edges(status)
        yield from _interruption(status)
        yield from _durations(self._durations())


def exposition(status: Callable[[], Status], durations: Callable[[], Mapping[str, Tally]]) -> bytes:
    """All metrics of a snapshot taken now, in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status, durations))
    return generate_latest(registry)


def _identity(status: Status) -> Iterator[Metric]:
    instance = status.instance
    known = {
        "version": status.version,
        "run": status.run,
        "instance_id": instance.id or "",
        "instance_type": instance.type or "",
        "zone": instance.zone or "",
        "lifecycle": instance.lifecycle or "",
    }
    yield InfoMetricFamily("spotguard_build", "What runs where.", value=known)
    states = {state.value: state is status.state for state in DaemonState}
    yield StateSetMetricFamily("spotguard_state", "The state of the daemon.", value=states)
    problems = GaugeMetricFamily("spotguard_problems", "Problems that stand, by code.", labels=["code"])
    standing = Counter(problem.code for problem in status.problems)
    for code in ProblemCode:
        problems.add_metric([code.value], standing[code])
    yield problems


def _checkpoints(status: Status) -> Iterator[Metric]:
    found = Counter(checkpoint.state for checkpoint in status.checkpoints)
    family = GaugeMetricFamily("spotguard_checkpoints", "Checkpoints on disk, by state.", labels=["state"])
    for state in CheckpointState:
        family.add_metric([state.value], found[state])
    yield family
    yield from _gauge("spotguard_backlog_checkpoints", "Complete checkpoints that are not committed.", status.backlog.checkpoints)
    yield from _gauge("spotguard_backlog_bytes", "Bytes that are still to be sent for them.", status.backlog.bytes)
    yield from _gauge("spotguard_backlog_eta_seconds", "How long sending them may take.", status.backlog.eta_seconds)


def _exposure(status: Status) -> Iterator[Metric]:
    exposure = status.exposure
    yield from _gauge("spotguard_exposure_age_seconds", "Time since the last commit.", exposure.seconds_since_last_commit)
    newest = max((c.committed_at for c in status.checkpoints if c.committed_at is not None), default=None)
    yield from _gauge("spotguard_last_commit_timestamp_seconds", "When the newest commit was made.", newest)
    yield from _gauge("spotguard_exposure_steps", "Training steps at risk, estimated.", exposure.steps_at_risk_estimate)
    yield from _gauge("spotguard_save_estimate_seconds", "How long the trainer takes to save.", exposure.save_seconds_estimate)
    yield from _gauge("spotguard_flush_estimate_seconds", "How long getting a checkpoint out takes.", exposure.flush_seconds_estimate)
    yield from _gauge("spotguard_fits_in_notice", "Whether a checkpoint fits into a notice.", exposure.fits_in_notice)
    yield from _gauge("spotguard_longest_fitting_bytes", "The largest checkpoint that fits.", exposure.longest_fitting_bytes)


def _edges(status: Status) -> Iterator[Metric]:
    upload, imds = status.upload, status.imds
    yield CounterMetricFamily("spotguard_upload_bytes", "Bytes sent to the store.", value=upload.bytes_total)
    yield CounterMetricFamily("spotguard_upload_retries", "Requests to the store that were repeated.", value=upload.retries_total)
    yield from _gauge("spotguard_upload_bytes_per_second", "Speed of the uploads now.", upload.bytes_per_second)
    yield from _gauge("spotguard_imds_required", "Whether the metadata service is polled.", imds.mode == "required")
    yield from _gauge("spotguard_imds_reachable", "Whether the metadata service answered the last poll.", imds.reachable)
    yield from _gauge("spotguard_imds_last_poll_timestamp_seconds", "When it was polled.", imds.last_poll)
    yield from _gauge("spotguard_store_reachable", "Whether the store answered the last request.", status.store.reachable)
    yield from _gauge("spotguard_trainer_found", "Whether the process to signal was found.", status.trainer.found)


def _interruption(status: Status) -> Iterator[Metric]:
    pending = status.interruption
    yield from _gauge("spotguard_interruption_pending", "Whether an interruption is pending.", pending is not None)
    if pending is not None and pending.deadline is not None:
        family = GaugeMetricFamily("spotguard_interruption_deadline_timestamp_seconds", "When all must be done.", labels=["kind", "drill"])
        family.add_metric([pending.kind.value, str(pending.drill).lower()], pending.deadline.timestamp())
        yield family
    verdict = pending.verdict if pending is not None else None
    yield StateSetMetricFamily(
        "spotguard_verdict",
        "What was said of the pending interruption.",
        value=dict.fromkeys(("safe", "unsafe"), False) | ({verdict: True} if verdict else {}),
    )


def _durations(tallies: Mapping[str, Tally]) -> Iterator[Metric]:
    for name, tally in tallies.items():
        yield HistogramMetricFamily(f"spotguard_{name}_seconds", _DURATIONS[name], buckets=list(tally.cumulative), sum_value=tally.total)


def _gauge(name: str, text: str, value: Value) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, text, value=value.timestamp() if isinstance(value, datetime) else float(value))
