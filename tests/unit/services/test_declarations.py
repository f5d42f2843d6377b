"""For how long a trainer's word that a checkpoint is whole counts."""

from __future__ import annotations

import asyncio

from spotguard.core.checkpoint import CompleteBy, FileStat, LocalCheckpoint, LocalFile, Unit
from spotguard.services.replication.declarations import Declarations
from spotguard.services.replication.ledger import Ledger
from spotguard.services.upload.commit import Capture
from tests.support.virtual_time import VirtualClock, run_virtual

NAME = "last"


class Folder:
    """A checkpoint that is written over again and again, the ledger's record of it, and what is said of it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.ledger = Ledger()
        self.declarations = Declarations(self.ledger, self.clock)

    @property
    def now_ns(self) -> int:
        return int(self.clock.wall().timestamp() * 1e9)

    def holds(self, size: int, *, changed_ns: int) -> bool:
        """Whether what a look finds that begins now, a file of this size, counts as declared."""
        heard = self.declarations.so_far()
        file = LocalFile("a", f"{NAME}/a", FileStat(size, changed_ns, changed_ns, 1, 1, 0o644))
        local = LocalCheckpoint(NAME, "generic-dir", Unit.DIRECTORY, (file,), in_place=True, newest_change_ns=changed_ns)
        self.ledger.see({NAME: local}, now=self.clock.monotonic(), wall_ns=self.now_ns)
        declared = NAME in self.declarations.hold(heard)
        self.declarations.forget_heeded()
        return declared


def test_a_word_counts_while_what_it_is_about_lies_there_behind_an_upload_of_what_it_overtook() -> None:
    async def story() -> None:
        folder = Folder()
        then = folder.now_ns - 10**9
        assert not folder.holds(1, changed_ns=then)
        folder.declarations.note(NAME)
        record = folder.ledger.get(NAME)
        assert record is not None
        assert record.local is not None
        record.overtaken, record.capture = True, Capture(record.local, CompleteBy.MARKER, (), {}, folder.clock.wall())
        assert folder.holds(1, changed_ns=then)
        assert folder.holds(1, changed_ns=then)
        assert not folder.holds(2, changed_ns=folder.now_ns)
        assert not folder.holds(1, changed_ns=then)

    run_virtual(story())


def test_files_with_the_times_of_a_clock_that_is_ahead_are_declared_all_the_same() -> None:
    async def story() -> None:
        folder = Folder()
        ahead = folder.now_ns + 3600 * 10**9
        folder.holds(1, changed_ns=ahead)
        folder.declarations.note(NAME)
        assert folder.holds(1, changed_ns=ahead)

    run_virtual(story())


def test_what_changed_after_the_word_is_not_declared() -> None:
    async def story() -> None:
        folder = Folder()
        folder.holds(1, changed_ns=folder.now_ns - 10**9)
        folder.declarations.note(NAME)
        said_ns = folder.now_ns
        await asyncio.sleep(5)
        assert not folder.holds(2, changed_ns=said_ns + 10**9)

    run_virtual(story())
