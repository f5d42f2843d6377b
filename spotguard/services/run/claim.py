"""Holds the run for this daemon, so that one writes at a time (docs/architecture.md, "One writer").

Claims are never taken away: a newcomer adds the next number, the holder sees it, finishes and says so. Nothing that fails here
raises; the store is asked again, and `state` tells how far it has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import structlog

from spotguard.core.claim import (
    CHECK_SECONDS,
    RELEASE_WAIT_SECONDS,
    ClaimPhase,
    ClaimState,
    EarlierClaim,
    decode_claim,
    describe,
    encode_claim,
    encode_draining,
    encode_release,
    from_epoch,
    highest,
    still_waiting_for,
)
from spotguard.core.manifest import Host
from spotguard.core.problem import ProblemCode
from spotguard.core.run_keys import RunKeys
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import ConcurrentWrite, ObjectExists, ObjectMissing, ObjectStore, StoreError, StoreUnavailable
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.run.earlier_claims import EarlierClaims, list_claims
from spotguard.services.store_health import StoreHealth

log = structlog.get_logger()

LOOK_SECONDS = 2.0
"""How often a newcomer looks whether it may begin."""
_CONTENDED_SECONDS = 0.2
_SLOWEST_RETRY_SECONDS = 30.0
_RETRY_IN_A_HURRY_SECONDS = 2.0
_OWN_EVERY_CHECKS = 4
"""Whether our own claim is still there is asked once a minute."""
_RELEASE_ATTEMPTS = 4


class RunClaim:
    """One daemon's claim on one run; good for one life: fenced is for ever."""

    def __init__(
        self,
        store: ObjectStore,
        keys: RunKeys,
        clock: Clock,
        host: Host,
        problems: ProblemBoard,
        health: StoreHealth,
        *,
        pid: int,
        version: str,
        in_a_hurry: Callable[[], bool] = lambda: False,
        on_vanished: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_vanished` is called when somebody has deleted our claim, and so perhaps more."""
        self._in_a_hurry = in_a_hurry
        self._on_vanished = on_vanished
        self._checks = 0
        self._body = b""
        self._store = store
        self._keys = keys
        self._clock = clock
        self._host = host
        self._problems = problems
        self._health = health
        self._pid = pid
        self._version = version
        self._nonce = uuid4().hex
        self._tried: int | None = None
        self._earlier: EarlierClaims | None = None
        self._claimed = 0.0
        self.state = Published(ClaimState())

    async def acquire(self) -> ClaimState:
        """Claim the next number and wait until the run is ours. On return it is HELD, or FENCED because somebody claimed after us.

        Faults of the store are waited out without end. Cancelled: a claim may be left behind, waiting; `release` gives it back."""
        failures = 0
        while self.state.value.phase is ClaimPhase.WAITING:
            try:
                if self.state.value.number is None:
                    await self._take_next_number()
                await self._look_around()
            except StoreError as error:
                failures += 1
                self._health.failed(error)
                patient = not isinstance(error, StoreUnavailable)
                await self._rest(_SLOWEST_RETRY_SECONDS if patient else min(2.0 ** min(failures - 1, 8), _SLOWEST_RETRY_SECONDS))
            else:
                failures = 0
                self._health.answered()
                if self.state.value.phase is ClaimPhase.WAITING:
                    await asyncio.sleep(LOOK_SECONDS if self.state.value.number else _CONTENDED_SECONDS)
        return self.state.value

    async def watch(self) -> ClaimState:
        """Ask for the next number every 15 s; returns when somebody has claimed it (SUCCEEDED), or the claim was given back."""
        while self.state.value.phase is ClaimPhase.HELD:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()
        return self.state.value

    async def check(self) -> bool:
        """Ask for the next number now; whether the run is still ours alone. A store that does not answer changes nothing."""
        state = self.state.value
        if state.phase is not ClaimPhase.HELD or state.number is None:
            return state.phase is ClaimPhase.HELD
        successor = state.number + 1
        self._checks += 1
        try:
            if self._checks % _OWN_EVERY_CHECKS == 0:
                await self._insist_on_own(state.number)
            facts = await self._store.head(self._keys.claim(successor))
        except ObjectMissing:
            self._health.answered()
            return True
        except StoreError as error:
            self._health.failed(error)
            return True
        left = RELEASE_WAIT_SECONDS - max(self._store_now() - facts.modified, 0.0)
        finish_by = self._clock.monotonic() + min(max(left, 0.0), RELEASE_WAIT_SECONDS)
        if self.state.value.phase is ClaimPhase.HELD:
            self.state.publish(replace(state, phase=ClaimPhase.SUCCEEDED, successor=successor, finish_by=finish_by))
            await self._report_loss(successor)
        return False

    async def _insist_on_own(self, number: int) -> None:
        """Somebody may have deleted our claim, by hand or with the whole run: the next number would then be ours again for anybody."""
        try:
            await self._store.head(self._keys.claim(number))
        except ObjectMissing:
            log.warning("claim.vanished", number=number)
            self._on_vanished()
            with suppress(ObjectExists, ConcurrentWrite):  # somebody has just claimed it: whoever claims after both of us ends it
                await self._store.create(self._keys.claim(number), self._body)

    async def _rest(self, seconds: float) -> None:
        """Less in a hurry, also one that begins meanwhile."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            hurries = self._in_a_hurry()
            await asyncio.sleep(min(left, _RETRY_IN_A_HURRY_SECONDS))
            if hurries:
                return

    async def announce_drain(self, deadline: float) -> bool:
        """Tell the successor to wait for our drain; `deadline` is monotonic. Whether it was told; failures are logged."""
        number = self.state.value.number
        if number is None:
            return False
        moment = from_epoch(self._store_now()) + timedelta(seconds=max(deadline - self._clock.monotonic(), 0.0))
        body = encode_draining(number, nonce=self._nonce, deadline=moment)
        try:
            await self._store.replace(self._keys.claim(number, "draining"), body)
        except StoreError as error:
            log.warning("claim.drain_not_announced", number=number, error=str(error))
            return False
        log.info("claim.drain_announced", number=number, deadline=moment.isoformat())
        return True

    async def take_back_drain(self) -> bool:
        """The notice was withdrawn: nobody need wait for our drain. Whether the note is gone; failures are logged."""
        number = self.state.value.number
        if number is None:
            return True
        try:
            await self._store.delete([self._keys.claim(number, "draining")])
        except StoreError as error:
            log.warning("claim.drain_not_taken_back", number=number, error=str(error))
            return False
        log.info("claim.drain_taken_back", number=number)
        return True

    async def release(self) -> bool:
        """Write nothing from now on and say so in the bucket: FENCED where there is a successor, else RELEASED.

        The state changes at once, before the note is written. Whether the note is there; without it the next one waits 30 s."""
        state = self.state.value
        if state.phase in (ClaimPhase.FENCED, ClaimPhase.RELEASED):
            return True
        phase = ClaimPhase.FENCED if state.successor is not None else ClaimPhase.RELEASED
        self.state.publish(replace(state, phase=phase, finish_by=None, waiting_for=""))
        if state.number is None:
            return True
        return await self._write_release(state.number, held=state.may_write)

    async def _write_release(self, number: int, *, held: bool) -> bool:
        body = encode_release(number, nonce=self._nonce, held=held, released_at=from_epoch(self._store_now()))
        for attempt in range(_RELEASE_ATTEMPTS):
            if attempt:
                await asyncio.sleep(2.0 ** (attempt - 1))
            try:
                await self._store.create(self._keys.claim(number, "released"), body)
            except ObjectExists:
                pass  # our own note whose answer was lost
            except StoreError as error:
                log.warning("claim.release_failed", number=number, attempt=attempt + 1, error=str(error))
                continue
            log.info("claim.released", number=number, held=held)
            return True
        return False

    async def _take_next_number(self) -> None:
        """Create the next number. Taken by another in between: state stays without a number, and one tries again."""
        if self._tried is not None and await self._is_ours(self._tried):
            self._took(self._tried)
            return
        self._tried = highest(await list_claims(self._store, self._keys)) + 1
        now = from_epoch(self._store_now())
        body = encode_claim(self._tried, nonce=self._nonce, host=self._host, claimed_at=now, pid=self._pid, version=self._version)
        with suppress(ObjectExists, ConcurrentWrite):  # another's, or ours whose answer was lost: reading tells
            self._body = body
            await self._store.create(self._keys.claim(self._tried), body)
        # Read back in any case: a store that ignores conditions may have let two of us write it.
        if await self._is_ours(self._tried):
            self._took(self._tried)

    async def _is_ours(self, number: int) -> bool:
        try:
            body = await self._store.read(self._keys.claim(number), max_bytes=1 << 20)
        except ObjectMissing:
            return False
        return decode_claim(number, body).nonce == self._nonce

    def _took(self, number: int) -> None:
        self._claimed = self._clock.monotonic()
        self._earlier = EarlierClaims(self._store, self._keys, number)
        self.state.publish(ClaimState(ClaimPhase.WAITING, number))
        log.info("claim.taken", number=number)

    async def _look_around(self) -> None:
        """Begin to hold if nobody below may still write; give way if somebody claimed above."""
        state = self.state.value
        if state.number is None or self._earlier is None:
            return
        listing = await list_claims(self._store, self._keys)
        if highest(listing) > state.number:
            await self._give_way(state.number, highest(listing))
            return
        waited = self._clock.monotonic() - self._claimed
        blockers = still_waiting_for(
            await self._earlier.examine(listing), own=self._host, waited_seconds=waited, store_now=self._store_now()
        )
        if blockers:
            self._wait_for(state, blockers)
        elif self.state.value.phase is ClaimPhase.WAITING:
            self.state.publish(ClaimState(ClaimPhase.HELD, state.number))
            log.info("claim.held", number=state.number, waited_seconds=round(waited, 1))

    def _wait_for(self, state: ClaimState, blockers: tuple[EarlierClaim, ...]) -> None:
        nearest = blockers[0]
        doing = "finishes its drain" if nearest.draining_until is not None else "lets go"
        words = f"{describe(nearest.host)} (claim {nearest.number}) {doing}"
        if words != state.waiting_for and self.state.value.phase is ClaimPhase.WAITING:
            log.info("claim.waited", number=state.number, until=words)
            self.state.publish(replace(state, waiting_for=words))

    async def _give_way(self, number: int, successor: int) -> None:
        """Somebody claimed after us while we waited: the highest number holds."""
        self.state.publish(ClaimState(ClaimPhase.WAITING, number, successor))
        await self.release()
        await self._report_loss(successor)

    async def _report_loss(self, successor: int) -> None:
        host: Host | None = None
        try:
            host = decode_claim(successor, await self._store.read(self._keys.claim(successor), max_bytes=1 << 20)).host
        except StoreError as error:
            log.debug("claim.successor_unread", number=successor, error=str(error))
        self._problems.raise_(
            ProblemCode.CLAIM_LOST,
            f"{describe(host)} claimed {self._keys.url} (claim {successor}): this daemon finishes and then writes no more",
            "let only one daemon write a run: stop this one (it exits with status 7), or give it another destination.url",
        )
        log.warning("claim.succeeded", number=self.state.value.number, successor=successor, by=describe(host))

    def _store_now(self) -> float:
        """S3's clock, seconds since the epoch."""
        return self._clock.wall().timestamp() + (self._store.clock_offset() or 0.0)
