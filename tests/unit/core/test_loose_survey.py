"""Which loose files are to be sent, out of what a look has found and what is known of the bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from spotguard.core import loose_survey
from spotguard.core.checkpoint import FileStat, LocalFile
from spotguard.core.loose import LooseFile
from spotguard.core.loose_index import LooseIndex
from spotguard.core.loose_survey import LooseKnowledge, LooseSurvey, still_due, survey


@dataclass(frozen=True)
class Folder:
    path: str
    content: Mapping[str, tuple[int, int]]
    """Name -> size, mtime."""

    @property
    def state(self) -> object:
        return self.content

    def files(self) -> Iterator[LocalFile]:
        for name, (size, mtime) in sorted(self.content.items()):
            path = f"{self.path}/{name}"
            yield LocalFile(path, path, FileStat(size, mtime, mtime, 1, 1, 0o644))


class NotToBeGoneThrough(Folder):
    def files(self) -> Iterator[LocalFile]:
        raise AssertionError("gone through")


def index_of(*folders: Folder) -> LooseIndex:
    return LooseIndex(
        LooseFile(file.path, file.path, file.stat.size, "AAAAAAAAAAA=", 0o644, file.stat.mtime_ns)
        for folder in folders
        for file in folder.files()
    )


def surveyed(
    *folders: Folder,
    index: LooseIndex | None = None,
    settled: Mapping[str, object] | None = None,
    resting: Mapping[str, float] | None = None,
    urgent: bool = False,
) -> LooseSurvey:
    return survey(folders, LooseKnowledge(index, settled or {}, resting or {}, 1000.0, 60.0, urgent))


def paths(found: LooseSurvey) -> list[str]:
    return [file.path for file in found.due]


def test_everything_is_due_before_the_index_of_the_bucket_is_known() -> None:
    found = surveyed(Folder("logs", {"a": (1, 5), "b": (1, 4)}))
    assert paths(found) == ["logs/b", "logs/a"]
    assert found.pending == 2
    assert found.is_all
    assert not found.settled


def test_more_than_go_in_one_pass_are_counted_and_the_oldest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loose_survey, "_IN_ONE_PASS", 2)
    found = surveyed(Folder("logs", {"a": (1, 5), "b": (1, 4), "c": (1, 3)}), index=LooseIndex())
    assert paths(found) == ["logs/c", "logs/b"]
    assert found.pending == 3
    assert not found.is_all


def test_a_folder_with_nothing_to_send_is_gone_through_only_when_it_looks_different() -> None:
    logs = Folder("logs", {"a": (1, 5)})
    index = index_of(logs)
    settled = surveyed(logs, index=index).settled
    assert surveyed(NotToBeGoneThrough("logs", {"a": (1, 5)}), index=index, settled=settled).settled == settled
    assert paths(surveyed(Folder("logs", {"a": (9, 6)}), index=index, settled=settled, urgent=True)) == ["logs/a"]


def test_a_file_that_waits_for_its_time_keeps_its_folder_unsettled() -> None:
    index = LooseIndex()
    index.put(LooseFile("logs/a", "logs/a", 1, "AAAAAAAAAAA=", 0o644, 5), at=990.0)
    changed = Folder("logs", {"a": (9, 6)})
    found = surveyed(changed, index=index)
    assert not found.due
    assert found.pending == 0
    assert not found.settled
    assert paths(surveyed(changed, index=index, settled=found.settled, urgent=True)) == ["logs/a"]


def test_a_file_that_could_not_be_sent_is_left_alone_until_its_time() -> None:
    logs = Folder("logs", {"a": (1, 5)})
    resting = surveyed(logs, index=LooseIndex(), resting={"logs/a": 1001.0})
    assert not resting.due
    assert resting.changed == {"logs/a"}
    assert not resting.settled
    assert paths(surveyed(logs, index=LooseIndex(), resting={"logs/a": 999.0})) == ["logs/a"]


def test_one_that_could_not_be_sent_and_is_gone_is_no_longer_changed() -> None:
    assert not surveyed(Folder("logs", {}), index=LooseIndex(), resting={"logs/a": 1001.0}).changed


def test_what_rests_since_the_survey_is_not_due_any_more() -> None:
    due = surveyed(Folder("logs", {"a": (1, 5), "b": (1, 6)}), index=LooseIndex()).due
    known = LooseKnowledge(LooseIndex(), {}, {"logs/a": 1001.0, "logs/b": 999.0}, 1000.0, 60.0, urgent=False)
    assert [(file.path, there) for file, there in still_due(due, known)] == [("logs/b", None)]
