"""The simulator is worth something: break a rule on purpose, and it tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from spotguard.core.checkpoint import LocalFile
from spotguard.core.verdict import Evidence
from spotguard.ports.checkpoint_volume import HeldFile
from spotguard.services import carrier, drain
from spotguard.services.checkpoint_upload import CheckpointUpload, SentFile
from spotguard.services.dispatcher import Dispatcher
from spotguard.services.file_placing import FilePlacing
from spotguard.services.part_engine import Errand
from tests.faults.simulation import Story, Told
from tests.faults.test_simulator import play
from tests.faults.test_two_writers import play as play_two

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


def test_saying_safe_without_a_scan_after_the_trainer_has_gone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def rash(evidence: Evidence) -> bool:
        return evidence.uncommitted == 0 and evidence.committed_any

    monkeypatch.setattr(drain, "is_safe", rash)
    monkeypatch.setattr(Story, "dies_at_safe", True)
    assert any(caught(play(seed)) for seed in SEEDS)


def test_going_on_after_the_release_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dispatcher, "_running", lambda self: [])
    assert any(outcome.late or outcome.broken for outcome in map(play_two, range(18, 30)))


def test_the_same_seeds_catch_nothing_when_no_rule_is_broken() -> None:
    assert not any(caught(play(seed)) for seed in SEEDS)
