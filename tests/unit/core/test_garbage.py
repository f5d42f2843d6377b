"""What may be deleted: the proofs, one by one."""

from __future__ import annotations

import json

import pytest

from spotguard.core.garbage import GARBAGE_AGE_SECONDS, InUse, is_data_key, is_of_another_version, keys_mentioned, old_enough, proves_ours
from spotguard.core.run_keys import LOOSE, RUN_METADATA, RunKeys

KEYS = RunKeys("b", "runs/1")


@pytest.mark.parametrize(
    ("key", "is_data"),
    [
        ("runs/1/sft/checkpoint-1/model.safetensors", True),
        ("runs/1/last.ckpt@2", True),
        ("runs/1/last_sync.json", False),
        ("runs/1/.spotguard/loose.json", False),
        ("runs/1/.spotguard/manifests/a/00000001-20261123T195958Z.json", False),
        ("runs/1/sft/", False),
        ("runs/10/checkpoint-1/x", False),
        ("elsewhere", False),
    ],
)
def test_only_what_lies_where_checkpoints_lie_is_data(key: str, is_data: bool) -> None:
    assert is_data_key(KEYS, key) is is_data


def test_what_has_no_known_age_is_not_old() -> None:
    assert not old_enough(None, 1e12)
    assert not old_enough(1000.0, 1000.0 + GARBAGE_AGE_SECONDS)
    assert old_enough(1000.0, 1001.0 + GARBAGE_AGE_SECONDS)


def test_our_own_metadata_proves_an_object_ours() -> None:
    for name in ("sft/checkpoint-1", "sft/ü x/checkpoint-1"):
        assert proves_ours(KEYS, KEYS.data(name, "a/b", is_directory=True), KEYS.metadata(name))
    assert proves_ours(KEYS, "runs/1/last.ckpt@3", KEYS.metadata("last.ckpt"))
    assert proves_ours(KEYS, "runs/1/sft/rank0.pt", KEYS.metadata("sft/checkpoint-1"))


def test_a_name_too_long_for_metadata_still_proves_it() -> None:
    name = "/".join(["ü" * 40] * 9)
    assert proves_ours(KEYS, KEYS.data(name, "x", is_directory=True), KEYS.metadata(name))


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"spotguard-checkpoint": "sft/checkpoint-1"},
        {RUN_METADATA: "s3://b/runs/1"},
        RunKeys("b", "runs/2").metadata("sft/checkpoint-1"),
        RunKeys("c", "runs/1").metadata("sft/checkpoint-1"),
        KEYS.metadata(LOOSE),
        KEYS.metadata("other/checkpoint-1"),
    ],
)
def test_anything_else_does_not(metadata: dict[str, str]) -> None:
    assert not proves_ours(KEYS, "runs/1/sft/checkpoint-1/model.bin", metadata)


def test_a_name_in_use_covers_its_files_and_their_versions() -> None:
    used = InUse(KEYS, ["sft/checkpoint-1", "last.ckpt"])
    for key in ("sft/checkpoint-1/x", "sft/checkpoint-1/sub/x@2", "last.ckpt", "last.ckpt@17"):
        assert used.has_key(KEYS.absolute(key))
    for key in ("sft/checkpoint-10/x", "sft/x", "last.ckpt.tmp"):
        assert not used.has_key(KEYS.absolute(key))
    assert used.has_object("runs/1/sft/rank0.pt", KEYS.metadata("sft/checkpoint-1"))


def test_a_key_in_use_covers_itself_absolute_or_relative() -> None:
    assert InUse(KEYS, ["runs/1/a/b@2"]).has_key("runs/1/a/b@2")
    assert InUse(KEYS, ["a/b@2"]).has_key("runs/1/a/b@2")
    assert not InUse(KEYS, ["runs/1/a/b@2"]).has_key("runs/1/a/b@3")


def test_another_format_is_told_from_damage() -> None:
    assert is_of_another_version(json.dumps({"format": 2}).encode())
    assert not is_of_another_version(b'{"format": 2')
    assert not is_of_another_version(b"[]")
    assert not is_of_another_version(json.dumps({"format": 1, "name": 3}).encode())


def test_a_refused_manifest_still_tells_the_keys_it_mentions() -> None:
    content = json.dumps({"format": 1, "files": [{"key": "a/b"}, {"key": 3}, 7, {"path": "x"}]}).encode()
    assert keys_mentioned(content) == {"a/b"}
    for odd in (b"", b"[1]", b'{"files": 3}'):
        assert keys_mentioned(odd) == frozenset()
