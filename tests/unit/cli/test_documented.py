"""docs/commands.md shows what the commands print."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spotguard.adapters.http.openapi import DRILL, STATUS
from spotguard.assembly.doctor.examination import CHECKS
from spotguard.assembly.restoring import Stored
from spotguard.cli.commands import adopt, bucket, doctor, sync
from spotguard.cli.commands import list as list_command
from spotguard.cli.main import COMMANDS
from spotguard.cli.restore_view import document
from spotguard.config.keys import KEYS, SECTIONS
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.exit_status import ExitStatus
from spotguard.core.rehearsal import DrillReport, Rehearsed, conclude
from spotguard.demo.summary import Summary
from spotguard.services.adoption.adoption import Adopted, AdoptOutcome
from spotguard.services.restore.restore_outcome import RestoreOutcome
from spotguard.services.run.bucket_setup import Shortcoming, Step
from spotguard.services.single_pass import SyncOutcome
from tests.unit.cli.served_status import status

PAGE = (Path(__file__).parents[3] / "docs/commands.md").read_text()
SECTIONS_OF_PAGE = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def examples(command: str) -> list[dict[str, Any]]:
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", SECTIONS_OF_PAGE[command], re.DOTALL)]


def shape(value: Any) -> Any:
    """The keys of a document, all the way down its objects."""
    return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else None


def test_every_command_has_its_section_with_an_example_of_its_json() -> None:
    for name in COMMANDS:
        assert examples(name), name
        assert f"](#{name})" in PAGE


def test_every_exit_status_is_told() -> None:
    told = {int(number) for row in re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE) for number in row.split(",")}
    assert {int(code) for code in ExitStatus} <= told


def test_status_has_the_fields_of_the_daemon() -> None:
    [shown] = examples("status")
    STATUS.validate_python(shown)
    answered = STATUS.dump_python(status(), mode="json")
    assert shape(shown) == shape(answered)
    assert set(shown["checkpoints"][0]) == set(answered["checkpoints"][0])


def test_sync_restore_and_demo_have_the_fields_that_are_printed() -> None:
    assert shape(examples("sync")[0]) == shape(sync._document(SyncOutcome((), 0, (), ())))
    restored = RestoreOutcome("a", "", 1, "/a", datetime.now(UTC), "h", 1, "remote")
    assert shape(examples("restore")[0]) == shape(document(restored))
    assert shape(examples("resume")[0]) == shape({"fresh": False, **document(restored)})
    assert shape(examples("demo")[0]) == shape(Summary().as_json())
    assert {field.name for field in dataclasses.fields(Summary)} <= set(examples("demo")[0])


def test_drill_has_the_fields_of_the_report_and_a_sentence_that_fits_them() -> None:
    [shown] = examples("drill")
    report = DRILL.validate_python(shown)
    assert set(shown) == {field.name for field in dataclasses.fields(DrillReport)}
    told = conclude(
        Rehearsed(
            report.asked,
            report.notice_seconds,
            report.signal,
            report.signalled_seconds,
            report.saved_seconds,
            report.committed_seconds,
            report.checkpoint,
            safe=True,
        )
    )
    assert dataclasses.replace(told, spare_seconds=report.spare_seconds) == report


def test_config_names_keys_that_exist() -> None:
    [shown] = examples("config")
    assert set(shown["sources"]) <= set(KEYS)
    assert set(shown["config"]) <= set(SECTIONS)


def test_adopt_bucket_list_and_doctor_have_the_fields_that_are_printed() -> None:
    adopted = adopt.document(AdoptOutcome((Adopted("a", 1, 1, 0),), ("b",), (("c", "why"),), 2))
    assert shape(examples("adopt")[0]) == shape(adopted)
    assert set(examples("adopt")[0]["adopted"][0]) == set(adopted["adopted"][0])
    found = doctor.document([Finding("clock", Verdict.OK, "right")])
    assert shape(examples("doctor")[0]) == shape(found)
    assert {frozenset(check) for check in examples("doctor")[0]["checks"]} == {frozenset(check) for check in found["checks"]}
    listed = list_command._documents("s3://b/p", [], Stored(1, 1), "STANDARD")
    assert shape(examples("list")[0]) == shape(listed)
    made, lacking = examples("bucket")
    assert set(made["steps"][0]) == set(bucket._step(Step("a", "done", "b")))
    assert set(lacking["shortcomings"][0]) == set(bucket._shortcoming(Shortcoming("a", "error", "b", "c", "d")))


def test_every_check_of_the_doctor_is_told() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)` \|", SECTIONS_OF_PAGE["doctor"], re.MULTILINE))
    assert told == set(CHECKS)
