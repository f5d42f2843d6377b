"""Asks the metadata service again and again, and publishes what its answers add up to.

A service that cannot be reached is shown, logged at first and then rarely, and asked on: it never ends the daemon. What a notice
means is decided in `core.interruption`; the loop turn that has the answer publishes the decision.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from spotguard.core.deadline import InterruptionPolicy
from spotguard.core.interruption import Ended, Interruption, InterruptionState, InterruptionWatch, advance, begin_drill, end_drill
from spotguard.core.notice import Sighting
from spotguard.core.problem import ProblemCode
from spotguard.core.status import MetadataServiceStatus
from spotguard.ports.clock import Clock
from spotguard.ports.metadata_service import MetadataService, MetadataUnavailable
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published

log = structlog.get_logger()

MISSES_UNTIL_BLIND = 3
LONGEST_POLL_SECONDS = 10.0
"""An adapter bounds its own requests; this is for one that does not."""


class InterruptionMonitor:
    """`service` is None where `imds.mode` is off: then only drills happen.

    `state` is what stands now; `service_status` tells whether the service answers."""

    def __init__(
        self,
        service: MetadataService | None,
        clock: Clock,
        problems: ProblemBoard,
        policy: InterruptionPolicy | None = None,
        *,
        poll_seconds: float = 5.0,
    ) -> None:
        self._service = service
        self._clock = clock
        self._problems = problems
        self._policy = policy or InterruptionPolicy()
        self._poll_seconds = poll_seconds
        self._watch = InterruptionWatch()
        self._woken = asyncio.Event()
        self._misses = 0
        self._missing_since = 0.0
        self.state = Published(InterruptionState())
        self.service_status = Published(MetadataServiceStatus(mode="required" if service else "off"))

    async def run(self) -> None:
        """Poll until cancelled; the first poll starts at once. Raises nothing for what the service does.

        Cancelled: a poll under way is given up, and what was published stays."""
        next_poll = self._clock.monotonic() if self._service else float("inf")
        while True:
            if self._service and self._clock.monotonic() >= next_poll:
                await self._poll(self._service)
                next_poll = max(next_poll + self._poll_seconds, self._clock.monotonic())  # a slow answer does not shift the beat
            else:
                self._take(None)
            await self._rest_until(min(next_poll, self._watch.next_change or float("inf")))

    def announce_drill(self, seconds: float, *, signals_trainer: bool = False) -> Interruption | None:
        """Start a rehearsal: a terminate notice `seconds` ahead. None, and no drill, while an interruption stands.

        It ends by `end_drill`, by a real notice, or by itself a while after its time."""
        if self._watch.state.current is not None:
            return None
        now, wall = self._clock.monotonic(), self._clock.wall()
        self._adopt(begin_drill(self._watch, seconds=seconds, signals_trainer=signals_trainer, now=now, wall=wall, policy=self._policy))
        self._woken.set()
        return self._watch.state.current

    def end_drill(self) -> None:
        """The drill has its verdict. Nothing happens if there is none."""
        self._adopt(end_drill(self._watch, now=self._clock.monotonic(), policy=self._policy))

    async def _rest_until(self, moment: float) -> None:
        self._woken.clear()
        try:
            async with asyncio.timeout(None if moment == float("inf") else max(moment - self._clock.monotonic(), 0.0)):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _poll(self, service: MetadataService) -> None:
        try:
            async with asyncio.timeout(LONGEST_POLL_SECONDS):
                sighting = await service.poll()
        except TimeoutError:
            self._missed(MetadataUnavailable(f"the metadata service did not answer within {LONGEST_POLL_SECONDS:.0f} s"))
            self._take(None)
        except MetadataUnavailable as error:
            self._missed(error)
            self._take(None)
        else:
            self._take(sighting)  # before the book-keeping: the trainer is waiting
            self._answered()

    def _take(self, sighting: Sighting | None) -> None:
        now, wall = self._clock.monotonic(), self._clock.wall()
        self._adopt(advance(self._watch, sighting, now=now, wall=wall, policy=self._policy))

    def _adopt(self, watch: InterruptionWatch) -> None:
        before, self._watch = self._watch, watch
        self.state.publish(watch.state)
        for ended in watch.ended:
            _log_end(ended)
        known = {track.interruption.id: track.interruption for track in before.tracks}
        for track in watch.tracks:
            earlier = known.get(track.interruption.id)
            if earlier is None:
                log.warning("notice.received", **self._told(track.interruption), drains=track.drains)
            elif (earlier.kind, earlier.deadline) != (track.interruption.kind, track.interruption.deadline):
                log.warning("notice.changed", **self._told(track.interruption), was=earlier.kind.value)
        current = watch.state.current
        if current is not None and current.id != (before.state.current.id if before.state.current else None):
            log.warning("interruption.began", **self._told(current), signals_trainer=current.signals_trainer)

    def _told(self, interruption: Interruption) -> dict[str, object]:
        left = interruption.deadline - self._clock.monotonic()
        return {
            "kind": interruption.kind.value,
            "id": interruption.id,
            "drill": interruption.drill,
            "time": interruption.time.isoformat() if interruption.time else None,
            "deadline_in_seconds": round(left, 1) if left != float("inf") else None,
            "text": interruption.text,
        }

    def _missed(self, error: MetadataUnavailable) -> None:
        self._misses += 1
        if self._misses == 1:
            self._missing_since = self._clock.monotonic()
        if self._misses & (self._misses - 1) == 0:  # the first, second, fourth, eighth … in a row
            log.warning("metadata_service.missed", misses=self._misses, error=str(error), fix=error.fix)
        if self._misses >= MISSES_UNTIL_BLIND:
            seconds = self._clock.monotonic() - self._missing_since
            message = f"an interruption would not be seen: no answer for {seconds:.0f} s: {error}"
            self._problems.raise_(ProblemCode.IMDS_BLIND, message, error.fix)
        status = self.service_status.value
        self.service_status.publish(replace(status, reachable=False, last_poll=self._clock.wall(), error=str(error)))

    def _answered(self) -> None:
        if self._misses:
            seconds = round(self._clock.monotonic() - self._missing_since, 1)
            log.info("metadata_service.recovered", misses=self._misses, seconds=seconds)
        self._misses = 0
        self._problems.clear(ProblemCode.IMDS_BLIND)
        self.service_status.publish(MetadataServiceStatus("required", reachable=True, last_poll=self._clock.wall()))


def _log_end(ended: Ended) -> None:
    interruption = ended.interruption
    event = "notice.withdrawn" if ended.withdrawn else "drill.ended" if interruption.drill else "notice.passed"
    log.warning(event, kind=interruption.kind.value, id=interruption.id, drained=ended.drained)
