"""One attempt each: at a whole checkpoint, at early files, at loose files. What comes of it is written into the record.

Nothing that goes wrong here ends the daemon: the next look decides what to try again, and the record says from when on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from spotguard.core.checkpoint import LocalFile, Unit
from spotguard.core.loose_survey import LooseSurvey
from spotguard.core.problem import ProblemCode
from spotguard.ports.checkpoint_volume import CannotRead
from spotguard.ports.clock import Clock
from spotguard.ports.object_store import StoreError, UploadMissing
from spotguard.ports.part_transfer import FileShrank
from spotguard.services.problem_board import ProblemBoard
from spotguard.services.replication.carrier import Carrier
from spotguard.services.replication.committed import Committed
from spotguard.services.replication.ledger import vanish
from spotguard.services.replication.records import Record
from spotguard.services.store_health import StoreHealth
from spotguard.services.upload.checkpoint_upload import CheckpointUpload, FileVanished, UploadTools
from spotguard.services.upload.commit import ForeignManifest, NotAsSent
from spotguard.services.upload.errand import ChangedWhileSending
from spotguard.services.upload.growing_file import Ending
from spotguard.services.upload.loose_files import LooseFiles
from spotguard.services.upload.part_slots import Rank

log = structlog.get_logger()

_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_LONGEST_RETRY_IN_A_HURRY_SECONDS = 2.0
"""Under a deadline: credentials that are renewed and links that come back are to be noticed at once."""
_UNREADABLE_RETRY_SECONDS = 10.0
_UNEXPECTED_RETRY_SECONDS = 10.0
_LAST_IN_LINE = 100_000
_BEHIND_ALL_WHOLE_FILES = _LAST_IN_LINE + 1


class Attempts:
    def __init__(
        self,
        tools: UploadTools,
        carrier: Carrier,
        committed: Committed,
        loose: LooseFiles,
        *,
        health: StoreHealth,
        problems: ProblemBoard,
        clock: Clock,
        nudge: Callable[[str | None], None],
        in_a_hurry: Callable[[], bool],
    ) -> None:
        self._tools = tools
        self._carrier = carrier
        self._committed = committed
        self._loose = loose
        self._health = health
        self._problems = problems
        self._clock = clock
        self._nudge = nudge
        self._in_a_hurry = in_a_hurry
        self.ranks: Mapping[str, int] = {}
        """The line, by name: the parts of the lowest go first, of whoever is not in it last."""
        self._loose_failures = 0
        self.loose_retry_at = 0.0
        """Monotonic; the loose files are not tried before."""
        self.loose_flushed_at = float("-inf")
        """Monotonic; when the last pass began after which no loose file was due."""
        self.unreadable: set[str] = set()
        """Names of whole checkpoints with files that may not be read."""

    async def carry(self, record: Record, reason: str) -> None:
        """Send and commit what was captured. On return `record.task` is None and the record says what came of it."""
        capture, upload = record.capture, self._upload_of(record)
        try:
            if capture is not None:
                await self._carrier.carry(record, capture, upload, reason=reason)
                self._succeeded(record)
        except (FileVanished, ChangedWhileSending, NotAsSent) as error:
            self._meet_change(record, error)
        except CannotRead as error:
            fix = "let spotguard read it: run as the trainer's user or grant CAP_DAC_READ_SEARCH"
            self._problems.raise_(ProblemCode.CANNOT_READ, str(error), fix)
            self.unreadable.add(record.name)
            record.retry_at = self._clock.monotonic() + _UNREADABLE_RETRY_SECONDS
        except ForeignManifest as error:
            log.error("commit.conflicted", name=record.name, error=str(error))
            self._committed.forget()
            record.recognised, record.draft = False, None
            record.retry_at = self._clock.monotonic() + 1.0
        except StoreError as error:
            self._health.failed(error)
            record.retry_at = self._clock.monotonic() + (0.1 if isinstance(error, UploadMissing) else self._retry_after(record.failures))
            record.failures += 1
        except Exception as error:  # a bug met by one checkpoint must not take the others, or a drain, down with it
            log.exception("upload.crashed", name=record.name, error=f"{type(error).__name__}: {error}")
            record.retry_at = self._clock.monotonic() + _UNEXPECTED_RETRY_SECONDS
        finally:
            await self._end_carrying(record, upload)

    async def early(self, record: Record, files: list[LocalFile]) -> None:
        """Send files of a checkpoint that is not whole yet. On return `record.early` is None."""
        try:
            await self._upload_of(record).send(files)
            self._health.answered()
        except (FileVanished, ChangedWhileSending, CannotRead):
            record.early_retry_at = self._clock.monotonic() + 1.0  # early is a favour: the whole checkpoint meets it again
        except StoreError as error:
            self._health.failed(error)
            record.early_retry_at = self._clock.monotonic() + self._retry_after(record.failures)
            record.failures += 1
        except Exception as error:  # early is a favour
            log.exception("upload.crashed", name=record.name, error=f"{type(error).__name__}: {error}")
            record.early_retry_at = self._clock.monotonic() + _UNEXPECTED_RETRY_SECONDS
        finally:
            record.early = None
            self._nudge(record.name)

    async def ahead(self, record: Record, file: LocalFile) -> Ending | None:
        """Send parts of a file that is still being written. Why it ended; None after a fault, which the whole file meets too."""
        rank: Rank = lambda: (_BEHIND_ALL_WHOLE_FILES,)  # noqa: E731 - as below
        try:
            return await self._upload_of(record).send_ahead(file, rank)
        except (FileVanished, FileShrank, CannotRead, OSError, StoreError) as error:
            log.info("stream.failed", path=file.source, reason=str(error))
        except Exception as error:  # ahead is a favour
            log.exception("upload.crashed", name=record.name, error=f"{type(error).__name__}: {error}")
        return None

    async def loose(self, found: LooseSurvey, *, observed_at: float) -> None:
        """Send the loose files that are due, as they were found by looks that cover the whole root since `observed_at`, and their index."""
        try:
            await self._loose.send(found)
            if found.urgent and found.is_all:  # that is all there was to send of what was there
                self.loose_flushed_at = max(self.loose_flushed_at, observed_at)
            self._loose_failures = 0
            self._health.answered()
        except StoreError as error:
            self._health.failed(error)
            self.loose_retry_at = self._clock.monotonic() + self._retry_after(self._loose_failures)
            self._loose_failures += 1
        except Exception as error:  # a loose file is never worth a checkpoint
            log.exception("loose.crashed", error=f"{type(error).__name__}: {error}")
            self.loose_retry_at = self._clock.monotonic() + _UNEXPECTED_RETRY_SECONDS

    def begin_to_hurry(self) -> None:
        """Nothing that failed before the deadline was known is waited for any longer."""
        self._loose_failures, self.loose_retry_at = 0, 0.0

    def _retry_after(self, failures: int) -> float:
        seconds = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
        return min(seconds, _LONGEST_RETRY_IN_A_HURRY_SECONDS) if self._in_a_hurry() else seconds

    async def discard(self, record: Record) -> None:
        """Stop what is still being sent of it, close its files and throw its unfinished multipart uploads away."""
        upload, record.upload = record.upload, None
        running = [task for task in (record.task, record.early, *record.ahead.values()) if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        if upload is not None:
            await upload.give_up()

    def has(self, record: Record, file: LocalFile) -> bool:
        """Whether this content is in the bucket already."""
        return record.upload is not None and record.upload.has(file)

    def knows(self, record: Record, path: str) -> bool:
        """Whether any content of this file is in the bucket already."""
        return record.upload is not None and path in record.upload.sent

    def _upload_of(self, record: Record) -> CheckpointUpload:
        if record.upload is None:
            local = record.local or (record.capture.checkpoint if record.capture else None)
            is_directory = local is not None and local.unit is Unit.DIRECTORY
            rank: Rank = lambda: (self.ranks.get(record.name, _LAST_IN_LINE),)  # noqa: E731 - asked anew for each part
            record.upload = CheckpointUpload(self._tools, record.name, is_directory=is_directory, rank=rank)
        return record.upload

    def _succeeded(self, record: Record) -> None:
        self._health.answered()
        record.failures, record.retry_at = 0, 0.0
        record.changes, record.patient_until = 0, 0.0
        record.superseded = record.vanished = None
        self.unreadable.discard(record.name)

    def _meet_change(self, record: Record, error: Exception) -> None:
        if isinstance(error, FileVanished):
            vanish(record, f"{error} was deleted before it could be sent")
        elif isinstance(error, NotAsSent):
            log.warning("upload.disproved", name=record.name, error=str(error))
            record.retry_at = self._clock.monotonic() + 0.5
        elif record.local is None:
            vanish(record, f"{error} was written on after its deletion")
        else:
            log.info("checkpoint.changed", name=record.name, path=str(error))
            record.begin_anew()
            record.changed_under_us(self._clock.monotonic())

    async def _end_carrying(self, record: Record, upload: CheckpointUpload) -> None:
        """The task stays the record's own until its upload is put away, so that no second one meets it half done."""
        try:
            if record.given_up:
                await upload.give_up()
            elif record.is_committed:
                await upload.rest()
            elif record.capture is None and record.early is None:
                upload.let_go()  # it changed: descriptors and copies of what it was would only fill the disk
        finally:
            if record.local is None and record.is_committed:
                record.upload = None
            record.task = None
            self._nudge(record.name)
