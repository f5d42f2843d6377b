"""The services of one daemon, put together from ports. No I/O happens here and no adapter is known."""

from __future__ import annotations

from spotguard.core.claim import ClaimPhase
from spotguard.core.manifest import Manifest
from spotguard.core.problem import Problem
from spotguard.core.status import InterruptionStatus
from spotguard.services.hooks import Hooks
from spotguard.services.interruption.advice import AdviceAnswer
from spotguard.services.interruption.drain import Drain
from spotguard.services.interruption.final_save import FinalSave, SignalSettings
from spotguard.services.interruption.interruption_monitor import InterruptionMonitor
from spotguard.services.interruption.interruption_record import encode_record, write_record
from spotguard.services.interruption.prospects import Prospects
from spotguard.services.interruption.rehearsal import Rehearsal
from spotguard.services.interruption.trainer_signal import TrainerSignal
from spotguard.services.interruption.trainer_watch import TrainerWatch
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.published import Published
from spotguard.services.replication.attempts import Attempts
from spotguard.services.replication.carrier import Carrier, CarrierSettings
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.dispatcher import Dispatcher
from spotguard.services.replication.durations import Durations
from spotguard.services.replication.examination import Examination
from spotguard.services.replication.folder_watch import FolderWatch
from spotguard.services.replication.ledger import Ledger
from spotguard.services.replication.presence import Presence
from spotguard.services.replication.replicator import Replicator, ReplicatorSettings
from spotguard.services.replication.scan_schedule import ScanSchedule
from spotguard.services.replication.urgency import Urgency
from spotguard.services.replication.writers import Writers
from spotguard.services.run.claim import RunClaim
from spotguard.services.run.janitor import Janitor
from spotguard.services.store_health import StoreHealth
from spotguard.services.upload.checkpoint_upload import UploadTools
from spotguard.services.upload.leftovers import Leftovers
from spotguard.services.upload.loose_files import LooseFiles
from spotguard.services.upload.part_copies import PartCopies
from spotguard.services.upload.part_engine import PartEngine
from spotguard.services.upload.part_slots import PartSlots
from spotguard.services.upload.small_files import SmallFiles
from spotguard.services.upload.throughput import Throughput
from spotguard.services.vigil import Vigil
from spotguard.supervisor.edges import Ports
from spotguard.supervisor.settings import GuardSettings


class Guard:
    """One attribute per service; who talks to whom is decided here and nowhere else."""

    def __init__(self, ports: Ports, settings: GuardSettings, urgency: Published[Urgency]) -> None:
        self.ports = ports
        self.settings = settings
        self.urgency = urgency
        clock = ports.clock
        self.problems = ProblemBoard(clock)
        self.health = StoreHealth(self.problems)
        self.throughput = Throughput(clock)
        self.durations = Durations()
        self.ledger = Ledger()
        self.committed = Committed(ports.store, settings.keys)
        self.schedule = ScanSchedule(rescan_seconds=settings.rescan_seconds)
        self.hooks = Hooks(ports.announcements)
        self.presence = Presence(self.committed)
        self.claim = self._build_claim()
        self.monitor = InterruptionMonitor(ports.metadata, clock, self.problems, settings.policy, poll_seconds=settings.poll_seconds)
        self.trainer_watch = TrainerWatch(ports.trainer, self.problems, clock)
        self.signals = TrainerSignal(ports.trainer, ports.journal, self.problems, clock)
        self.janitor = self._build_janitor()
        self.replicator = self._build_replicator()
        self.presence.on_vanished = self.replicator.recognise_anew
        self.prospects = Prospects(
            self.replicator.view, self.throughput, self.trainer_watch, clock, margin_seconds=settings.policy.margin_seconds
        )
        self.rehearsal = Rehearsal(self.monitor, self.prospects, self._signalling())
        self.drain = self._build_drain()
        self.advice = self._build_advice()
        self.vigil = self._build_vigil()
        self.folder_watch = self._build_folder_watch()
        self.problems.on_raise(self._tell_problem)
        self.lift_cap(False)

    def may_write(self) -> bool:
        """Whether this daemon may write into the run now."""
        return self.settings.writes and (not self.settings.claims or self.claim.state.value.may_write)

    def in_use(self) -> list[str]:
        """Names of local checkpoints that are not committed, and the keys that their commits may name."""
        used = []
        for record in self.ledger:
            if not record.is_committed:
                used.append(record.name)
                used.extend(sent.key for sent in (record.upload.sent.values() if record.upload else ()))
        return used

    def lift_cap(self, lifted: bool) -> None:
        """The bandwidth cap holds, or not while a notice stands."""
        cap = None if lifted else self.settings.bytes_per_second
        self.ports.transfer.limit_rate(cap)
        self.throughput.limited(cap)

    def clock_offset(self) -> float:
        return self.ports.store.clock_offset() or 0.0

    def _build_claim(self) -> RunClaim:
        return RunClaim(
            self.ports.store,
            self.settings.keys,
            self.ports.clock,
            self.settings.host,
            self.problems,
            self.health,
            pid=self.settings.pid,
            version=self.settings.version,
            in_a_hurry=lambda: self.urgency.value.draining,
            on_vanished=self.presence.doubt,
        )

    def _build_janitor(self) -> Janitor:
        return Janitor(
            self.ports.store,
            self.ports.transfer,
            self.settings.keys,
            self.ports.clock,
            self.settings.retention,
            may_run=lambda: self.may_write() and not self.urgency.value.draining,
            in_use=self.in_use,
            on_given_up=self.committed.drop,
        )

    def _build_engine(self, slots: PartSlots) -> PartEngine:
        ports, settings = self.ports, self.settings
        return PartEngine(
            ports.transfer,
            slots,
            self.throughput,
            part_bytes=settings.part_bytes,
            copies=PartCopies(ports.stored, settings.keys),
            leftovers=Leftovers(
                ports.transfer,
                ports.stored,
                settings.keys.root,
                store_now=lambda: ports.clock.wall().timestamp() + self.clock_offset(),
                may_abort=lambda: self.claim.state.value.phase is ClaimPhase.HELD,
            ),
        )

    def _build_dispatcher(self) -> Dispatcher:
        ports, settings = self.ports, self.settings
        condemned, relatives = self.janitor.is_condemned, self.committed.relatives
        slots = PartSlots(settings.concurrency)
        engine, small = self._build_engine(slots), SmallFiles(ports.bulk, slots, self.throughput)
        tools = UploadTools(ports.store, engine, ports.volume, settings.keys, ports.clock, small, ports.offload, condemned, relatives)
        carried = CarrierSettings(settings.host, settings.watch_dir, settings.held_files)
        carrier = Carrier(tools, self.committed, ports.clock, carried, on_commit=self._tell_commit, durations=self.durations)
        loose = LooseFiles(tools, loose_seconds=settings.loose_seconds)
        return Dispatcher(
            tools=tools,
            attempts=Attempts(
                tools,
                carrier,
                self.committed,
                loose,
                health=self.health,
                problems=self.problems,
                clock=ports.clock,
                nudge=self._nudge,
                in_a_hurry=lambda: self.urgency.value.draining,
            ),
            committed=self.committed,
            ledger=self.ledger,
            loose=loose,
            throughput=self.throughput,
            urgency=self.urgency,
            may_write=self.may_write,
            clock=ports.clock,
            nudge=self._nudge,
            retention=settings.retention,
        )

    def _build_replicator(self) -> Replicator:
        ports, settings = self.ports, self.settings
        return Replicator(
            ReplicatorSettings(settings.layout, settings.settle_seconds),
            volume=ports.volume,
            committed=self.committed,
            examination=Examination(ports.volume, ports.offload, settle_seconds=settings.settle_seconds),
            ledger=self.ledger,
            dispatcher=self._build_dispatcher(),
            writers=Writers(ports.writer_watch, ports.trainer, ports.clock),
            schedule=self.schedule,
            urgency=self.urgency,
            health=self.health,
            problems=self.problems,
            offload=ports.offload,
            clock=ports.clock,
            clock_offset=self.clock_offset,
        )

    def _signalling(self) -> SignalSettings:
        told = self.settings
        return SignalSettings(told.signal, told.checkpoint_signal, told.signal_when, told.notice_file)

    def _build_drain(self) -> Drain:
        return Drain(
            monitor=self.monitor,
            replication=self.replicator.view,
            urgency=self.urgency,
            watch=self.trainer_watch,
            signals=self.signals,
            announcements=self.ports.announcements,
            clock=self.ports.clock,
            final_save=FinalSave(
                self._signalling(),
                watch=self.trainer_watch,
                signals=self.signals,
                prospects=self.prospects,
                replication=self.replicator.view,
                clock=self.ports.clock,
            ),
            rehearsal=self.rehearsal,
            lift_cap=self.lift_cap,
            record=self._record,
        )

    def _build_advice(self) -> AdviceAnswer:
        return AdviceAnswer(
            checkpoint_signal=self.settings.checkpoint_signal,
            monitor=self.monitor,
            watch=self.trainer_watch,
            signals=self.signals,
            announcements=self.ports.announcements,
            urgency=self.urgency,
            clock=self.ports.clock,
        )

    def _build_vigil(self) -> Vigil:
        return Vigil(
            volume=self.ports.volume,
            view=self.replicator.view,
            prospects=self.prospects,
            clock_offset=self.ports.store.clock_offset,
            problems=self.problems,
            clock=self.ports.clock,
            watch_dir=self.settings.watch_dir,
        )

    def _build_folder_watch(self) -> FolderWatch:
        return FolderWatch(
            self.ports.writer_watch,
            view=self.replicator.view,
            trainers=lambda: self.trainer_watch.view.value.processes,
            problems=self.problems,
            clock=self.ports.clock,
            watch_dir=self.settings.watch_dir,
        )

    def _nudge(self, name: str | None) -> None:
        if name is None:
            self.schedule.nudge()
        else:
            self.schedule.hint(name)

    def _tell_commit(self, manifest: Manifest) -> None:
        self.janitor.note_commit()
        self.hooks.tell(
            "on_commit",
            {"name": manifest.name, "step": manifest.step, "generation": manifest.generation, "bytes": manifest.total_bytes},
        )

    def _tell_problem(self, problem: Problem) -> None:
        payload = {"code": problem.code.value, "severity": problem.severity.value, "message": problem.message, "fix": problem.fix}
        self.hooks.tell("on_problem", payload)

    async def _record(self, status: InterruptionStatus) -> None:
        now = self.ports.clock.wall()
        self.durations.drained(detected_at=status.detected_at, signalled_at=self.signals.signalled_at, now=now)
        if not self.may_write():
            return
        checkpoints = self.replicator.view.value.checkpoints
        body = encode_record(status, version=self.settings.version, host=self.settings.host, checkpoints=checkpoints)
        await write_record(self.ports.store, self.settings.keys, self.settings.host, status, body)
