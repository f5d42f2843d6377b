"""The one format that is kept for ever: what it writes, what it reads, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.checkpoint import CompleteBy, Unit
from spotguard.core.manifest import Companion, FirstPart, Host, Manifest, ManifestError, ManifestFile, ManifestFolder, ManifestLink
from spotguard.core.manifest_format import decode, encode
from spotguard.core.stored_fields import safe_path, stays_inside

SAMPLE = Manifest(
    name="sft/checkpoint-100",
    stage="sft",
    step=100,
    layout="hf-trainer",
    unit=Unit.DIRECTORY,
    complete_by=CompleteBy.MARKER,
    generation=1,
    saved_at=datetime(2026, 11, 23, 19, 59, 58, tzinfo=UTC),
    committed_at=datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC),
    reason="save",
    host=Host("node", "i-0abc"),
    total_bytes=123,
    files=(
        ManifestFile(
            "model.safetensors", "sft/checkpoint-100/model.safetensors", 120, "AAAAAAAAAAA=", 420, 7, FirstPart(5, "AAAAAAAAAAE=")
        ),
        ManifestFile("config.json", "sft/checkpoint-100/config.json", 3, "AAAAAAAAAAA=", 420, 7),
    ),
    folders=(ManifestFolder("sub", 493),),
    links=(ManifestLink("latest", "model.safetensors"),),
    companions=(Companion("training_state.json", b'{"a": 1}'),),
    excluded=("wandb/x",),
    training_state={"a": 1},
)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(encode(SAMPLE))
    change(document)
    return json.dumps(document).encode()


def test_what_is_written_reads_back_the_same() -> None:
    assert decode(encode(SAMPLE)) == SAMPLE


def test_a_file_of_one_part_has_no_first_part() -> None:
    assert ["first_part" in file for file in json.loads(encode(SAMPLE))["files"]] == [True, False]


def test_the_fields_are_those_of_the_contract() -> None:
    document = json.loads(encode(SAMPLE))
    assert list(document) == [
        "format", "name", "stage", "step", "layout", "unit", "complete_by", "generation", "saved_at", "committed_at", "reason", "host",
        "total_bytes", "training_state", "files", "folders", "links", "companions", "excluded",
    ]  # fmt: skip
    assert document["saved_at"] == "2026-11-23T19:59:58Z"
    assert list(document["files"][1]) == ["path", "key", "size", "crc64nvme", "mode", "mtime_ns"]
    assert list(document["files"][0]) == [*document["files"][1], "first_part"]


def test_unknown_fields_are_ignored() -> None:
    assert decode(changed(lambda d: d.update(nodes=[1, 2]))) == SAMPLE


def test_an_unknown_format_is_refused_with_what_to_do() -> None:
    with pytest.raises(ManifestError, match=r"format 2.*upgrade spotguard"):
        decode(changed(lambda d: d.update(format=2)))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["files"][0].update(path="../../etc/passwd"),
        lambda d: d["files"][0].update(path="/etc/passwd"),
        lambda d: d["files"][0].update(key="../other/run"),
        lambda d: d["folders"][0].update(path="a/../.."),
        lambda d: d["links"][0].update(target="../../etc/passwd"),
        lambda d: d["links"][0].update(target="/etc/passwd"),
        lambda d: d["companions"][0].update(path="../x"),
        lambda d: d.update(name="../x", stage=".."),
        lambda d: d["files"].append(dict(d["files"][0], path="latest/x", size=0)),
        lambda d: d["files"].append(dict(d["files"][0], size=0)),
        lambda d: d.update(total_bytes=1),
        lambda d: d.update(generation=0),
        lambda d: d.update(stage="other"),
        lambda d: d["files"][0].update(size=-1),
        lambda d: d["files"][0].update(size=True),
        lambda d: d["files"][0].update(crc64nvme="AAAA"),
        lambda d: d.pop("files"),
        lambda d: d.update(saved_at="yesterday"),
        lambda d: d.update(unit="galaxy"),
    ],
)
def test_what_escapes_or_contradicts_itself_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ManifestError):
        decode(changed(change))


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_crashes(content: bytes) -> None:
    with pytest.raises(ManifestError):
        decode(content)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))
def test_any_json_in_place_of_a_field_is_refused_or_read(value: Any) -> None:
    for field in json.loads(encode(SAMPLE)):
        try:
            decode(changed(lambda d, field=field: d.update({field: value})))
        except ManifestError:
            continue


def test_a_path_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ManifestError, match="not Unicode"):
        safe_path("a/\ud800")


@given(st.text())
def test_a_safe_path_has_no_way_out(path: str) -> None:
    try:
        safe_path(path)
    except ManifestError:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")


@pytest.mark.parametrize(
    ("link", "target", "inside"),
    [
        ("a", "b", True),
        ("d/a", "../b", True),
        ("a", "../b", False),
        ("d/a", "../../b", False),
        ("a", "/b", False),
        ("a", "b/../../c", False),
    ],
)
def test_links_are_held_to_the_checkpoint(link: str, target: str, inside: bool) -> None:
    assert stays_inside(link, target) is inside


def test_links_beside_it_and_the_world_size_are_written_only_where_there_are_some() -> None:
    beside = (ManifestLink("sft/last.ckpt", "checkpoint-100"), ManifestLink("newest", "sft/checkpoint-100"))
    more = replace(SAMPLE, links_beside=beside, world_size=4)
    assert decode(encode(more)) == more
    assert not {"links_beside", "world_size"} & json.loads(encode(SAMPLE)).keys()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("last", "../../etc"),
        ("last", "/etc/passwd"),
        ("../last", "sft/checkpoint-100"),
        ("last", "sft/checkpoint-99"),
        ("last", ""),
        ("sft/checkpoint-100", "checkpoint-100"),
        ("sft/checkpoint-100/x", "../checkpoint-100"),
    ],
)
def test_a_link_beside_it_that_leads_anywhere_else_is_refused(path: str, target: str) -> None:
    with pytest.raises(ManifestError):
        decode(changed(lambda document: document.update(links_beside=[{"path": path, "target": target}])))
