"""The page and the example say what the models say."""

from __future__ import annotations

import itertools
from pathlib import Path

import yaml

from spotguard.config import reference
from spotguard.config.keys import KEYS
from spotguard.config.sources import load_config

ROOT = Path(__file__).parents[3]


def test_the_page_holds_the_table_of_the_models() -> None:
    assert reference.documented(ROOT / "docs/configuration.md") == reference.table()


def test_the_example_is_the_one_of_the_models() -> None:
    assert (ROOT / "config.example.yaml").read_text() == reference.example()


def test_the_example_loads_as_it_is_and_holds_every_key_with_a_comment(tmp_path: Path) -> None:
    loaded = load_config(str(ROOT / "config.example.yaml"), [], {}, tmp_path)
    written = yaml.safe_load((ROOT / "config.example.yaml").read_text())
    assert {f"{section}.{key}" for section, keys in written.items() for key in keys} == set(KEYS)
    bare = load_config(None, [("watch.dir", "/data/checkpoints"), ("destination.url", "s3://my-bucket/my-run")], {}, tmp_path)
    assert loaded.config == bare.config
    lines = (ROOT / "config.example.yaml").read_text().splitlines()
    uncommented = [
        line for before, line in itertools.pairwise(lines) if line.startswith("  ") and not line.startswith("  #") and "#" not in before
    ]
    assert uncommented == []


def test_the_example_hides_no_variable_of_the_launcher(tmp_path: Path) -> None:
    env = {"GROUP_RANK": "2", "GROUP_WORLD_SIZE": "4", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}
    config = load_config(str(ROOT / "config.example.yaml"), [], env, tmp_path).config
    assert (config.node.rank, config.node.count, config.imds.stated_mode) == (2, 4, "required")
