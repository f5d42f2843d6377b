"""The simulator is worth something: break a rule on purpose, and it tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from spotguard.core.checkpoint import LocalFile
from spotguard.core.part_cut import Part
from spotguard.core.reuse import KnownFiles
from spotguard.core.verdict import Evidence
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.ports.part_transfer import ListedPart, SentPart, Slice
from spotguard.services.interruption import drain
from spotguard.services.replication import carrier
from spotguard.services.replication.dispatcher import Dispatcher
from spotguard.services.upload import file_placing
from spotguard.services.upload.begun_upload import BegunUpload
from spotguard.services.upload.checkpoint_upload import CheckpointUpload, SentFile
from spotguard.services.upload.content_sums import ContentSums
from spotguard.services.upload.errand import Errand
from spotguard.services.upload.file_placing import FilePlacing
from spotguard.services.upload.part_engine import PartEngine
from spotguard.services.upload.reuse import Duplicate
from tests.faults.simulation import Story, Told
from tests.faults.test_simulator import play
from tests.faults.test_two_writers import play as play_two
from tests.support.memory_copies import MemoryCopies

SEEDS = range(25)


def caught(told: Told) -> bool:
    return bool(told.broken) or (told.verdict == "safe" and told.newest_restorable != told.finished[-1])


def test_committing_before_the_data_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pretend(self: CheckpointUpload, files: Sequence[LocalFile]) -> None:
        for file in files:
            self.sent[file.path] = SentFile(file.stat, self._placing._key(file.path, 1), "etag", 0)

    async def believe(*_: object) -> None:
        return None

    monkeypatch.setattr(CheckpointUpload, "send", pretend)
    monkeypatch.setattr(carrier, "check_uploads", believe)
    assert any(caught(play(seed)) for seed in SEEDS)


def test_overwriting_a_key_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def overwrite(self: FilePlacing, file: LocalFile, held: HeldFile) -> SentFile:
        key = self._key(file.path, 1)
        errand = Errand(held, file.stat.size, key, self._tools.keys.metadata(self._name), self._rank, only_new=False)
        sent = await self._tools.engine.send(errand)
        return SentFile(held.stat, key, sent.etag, sent.crc64nvme)

    monkeypatch.setattr(FilePlacing, "place", overwrite)
    assert any(caught(play(seed)) for seed in SEEDS)


def test_taking_a_file_of_equal_size_for_an_equal_file_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def credulous(size: int, sums: ContentSums, known_files: KnownFiles, *, step: int) -> Duplicate | None:
        known = known_files.of_size(size)
        return Duplicate(known[0].key, known[0].crc64nvme, None) if known else None

    monkeypatch.setattr(file_placing, "find_duplicate", credulous)
    assert any(caught(play(seed)) for seed in SEEDS)


def test_trusting_the_parts_of_an_earlier_life_without_their_checksums_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trusting(self: MemoryCopies, listed: ListedPart, body: Slice) -> SentPart | None:
        assert listed.crc64nvme is not None
        return SentPart(listed.number, listed.size, listed.etag, listed.crc64nvme)

    monkeypatch.setattr(MemoryCopies, "confirm", trusting)
    monkeypatch.setattr(Story, "resaves", 0.7)
    monkeypatch.setattr(Story, "manners", {"begin anew": 1})
    assert any(caught(play(seed)) for seed in range(40, 140))  # rare: two in a hundred


def test_trusting_what_was_sent_while_the_file_was_written_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trusting(self: PartEngine, errand: Errand, begun: BegunUpload, part: Part) -> bool:
        sent = await begun.landed(part.number)
        begun.settle(part.number, proven=True)
        return sent is not None

    monkeypatch.setattr(PartEngine, "_has", trusting)
    monkeypatch.setattr(Story, "manners", {"change": 1})
    assert any(caught(play(seed)) for seed in range(100))


def test_saying_safe_without_a_scan_after_the_trainer_has_gone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def rash(evidence: Evidence) -> bool:
        return evidence.uncommitted == 0 and evidence.committed_any

    monkeypatch.setattr(drain, "is_safe", rash)
    monkeypatch.setattr(Story, "dies_at_safe", True)
    assert any(caught(play(seed)) for seed in SEEDS)


def test_going_on_after_the_release_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dispatcher, "_running", lambda self: [])
    assert any(outcome.late or outcome.broken for outcome in map(play_two, range(30, 60)))


def test_the_same_seeds_catch_nothing_when_no_rule_is_broken() -> None:
    assert not any(caught(play(seed)) for seed in SEEDS)
