"""Which source wins, and that it is known afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spotguard.config.errors import ConfigError
from spotguard.config.keys import KEYS
from spotguard.config.sources import load_config, require
from tests.unit.config.loading import BOTH, load, refusal


def test_options_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = BOTH + "upload:\n  concurrency: 2\n  part_size_mib: 20\nlog:\n  level: error\n"
    env = {"SPOTGUARD_UPLOAD__CONCURRENCY": "3", "SPOTGUARD_LOG__LEVEL": "warning"}
    loaded = load(tmp_path, file, env=env, options=[("log.level", "info"), ("log.level", "debug")])

    assert (loaded.config.upload.part_size_mib, loaded.config.upload.concurrency, loaded.config.log.level) == (20, 3, "debug")
    said = {name: str(source).replace(str(tmp_path), "") for name, source in loaded.provenance.items()}
    assert said["upload.part_size_mib"] == "file:/c.yaml:7"
    assert said["upload.concurrency"] == "env:SPOTGUARD_UPLOAD__CONCURRENCY"
    assert said["log.level"] == "option"
    assert said["watch.settle_seconds"] == "default"
    assert set(said) == set(KEYS)


def test_no_file_is_needed(tmp_path: Path) -> None:
    loaded = load(tmp_path, options=[("watch.dir", "out"), ("destination.url", "s3://my-bucket/a/b/")])
    assert loaded.file is None
    assert loaded.config.watch.dir == tmp_path / "out"
    assert (loaded.config.destination.url, loaded.config.destination.bucket, loaded.config.destination.prefix) == (
        "s3://my-bucket/a/b",
        "my-bucket",
        "a/b",
    )


def test_every_key_can_come_from_the_environment(tmp_path: Path) -> None:
    values = {
        "watch.layout": "generic-dir",
        "watch.exclude": "['*.bak']",
        "watch.follow_links": "yes",
        "destination.region": "007",
        "destination.keep_last": "3",
        "upload.max_megabits_per_second": "1.5",
        "trainer.process": "12345",
        "trainer.signal": "usr1",
        "trainer.notice_file": "~/notice.json",
        "hooks.on_safe": "[a, b c]",
        "http.listen": "unix:/run/x.sock",
        "http.token": "123",
        "log.level": "DEBUG",
    }
    env = {KEYS[name].variable: value for name, value in values.items()}
    config = load(tmp_path, BOTH, env=env).config

    assert config.watch.layout == "generic-dir"
    assert config.watch.exclude == ("*.log", "wandb/**", "*.tmp", "*.bak")
    assert config.watch.follow_links is True
    assert (config.destination.region, config.destination.keep_last) == ("007", 3)
    assert config.upload.max_bytes_per_second == 187_500
    assert (config.trainer.process, config.trainer.signal) == ("12345", "SIGUSR1")
    assert config.trainer.notice_file == Path.home() / "notice.json"
    assert config.hooks.on_safe == ("a", "b c")
    assert str(config.http.address) == "unix:/run/x.sock"
    assert config.http.token_text == "123"
    assert config.log.level == "debug"


def test_only_variables_with_two_underscores_are_keys(tmp_path: Path) -> None:
    env = {"SPOTGUARD_CHECKPOINT": "x", "SPOTGUARD_DEBUG": "1", "SPOTGUARD_LOG_LEVEL": "x", "SPOTGUARD_LOG__LEVEL": ""}
    assert load(tmp_path, BOTH, env=env).config.log.level == "info"


def test_null_takes_a_value_back(tmp_path: Path) -> None:
    file = BOTH + "upload:\n  concurrency: 2\n  max_megabits_per_second: 5\n"
    env = {"SPOTGUARD_UPLOAD__CONCURRENCY": "null", "SPOTGUARD_UPLOAD__MAX_MEGABITS_PER_SECOND": "null"}
    loaded = load(tmp_path, file, env=env)
    assert loaded.config.upload.concurrency == 8
    assert loaded.config.upload.max_megabits_per_second is None
    assert str(loaded.provenance["upload.concurrency"]) == "default"
    assert load(tmp_path, BOTH + "http:\n  listen:\n").config.http.listen is None


def test_empty_sections_mean_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, BOTH + "trainer:\n  # signal: USR1\nlog: {}\nhooks:\n").config.trainer.signal is None


def test_words_that_yaml_1_1_reads_as_something_else_are_words(tmp_path: Path) -> None:
    config = load(tmp_path, BOTH + "imds:\n  mode: off\ntrainer:\n  process: 12:30:45\n").config
    assert (config.imds.mode, config.trainer.process) == ("off", "12:30:45")


class TestWhichFile:
    def test_here_before_the_system_one(self, tmp_path: Path) -> None:
        (tmp_path / "spotguard.yaml").write_text(BOTH)
        assert load(tmp_path).file == str(tmp_path / "spotguard.yaml")

    def test_the_variable_before_the_one_here_and_the_option_before_both(self, tmp_path: Path) -> None:
        (tmp_path / "spotguard.yaml").write_text("nonsense")
        (tmp_path / "by-variable.yaml").write_text(BOTH + "log:\n  level: error\n")
        env = {"SPOTGUARD_CONFIG": "by-variable.yaml"}
        assert load(tmp_path, env=env).config.log.level == "error"
        assert load(tmp_path, BOTH, env=env).config.log.level == "info"

    def test_one_that_is_named_must_be_there(self, tmp_path: Path) -> None:
        missing = tmp_path / "no.yaml"
        assert refusal(tmp_path, env={"SPOTGUARD_CONFIG": "no.yaml"}) == [
            f"{missing} (from variable SPOTGUARD_CONFIG): the configuration file cannot be read: No such file or directory"
        ]
        with pytest.raises(ConfigError, match="from -c"):
            load_config("no.yaml", [], {"SPOTGUARD_CONFIG": "other.yaml"}, tmp_path)

    def test_one_that_cannot_be_read_is_not_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "spotguard.yaml").mkdir()
        assert refusal(tmp_path) == [f"{tmp_path / 'spotguard.yaml'}: the configuration file cannot be read: Is a directory"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_one_that_may_not_be_read_is_not_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "spotguard.yaml").write_text(BOTH)
        (tmp_path / "spotguard.yaml").chmod(0)
        assert "Permission denied" in refusal(tmp_path)[0]


class TestTheMetadataService:
    FAKE = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338/"}  # noqa: RUF012 - read only
    OFF = {"AWS_EC2_METADATA_DISABLED": "true"}  # noqa: RUF012 - read only

    def test_nothing_said_leaves_it_to_the_machine(self, tmp_path: Path) -> None:
        imds = load(tmp_path, BOTH).config.imds
        assert (imds.endpoint, imds.stated_mode, imds.endpoint_is_set) == ("http://169.254.169.254", "auto", False)

    def test_an_endpoint_means_required(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, BOTH, env=self.FAKE)
        assert (loaded.config.imds.endpoint, loaded.config.imds.stated_mode) == ("http://127.0.0.1:1338", "required")
        assert str(loaded.provenance["imds.endpoint"]) == "env:AWS_EC2_METADATA_SERVICE_ENDPOINT"

    def test_the_file_wins_over_the_variable_of_others(self, tmp_path: Path) -> None:
        imds = load(tmp_path, BOTH + "imds:\n  endpoint: http://10.0.0.1\n  mode: off\n", env=self.FAKE).config.imds
        assert (imds.endpoint, imds.stated_mode) == ("http://10.0.0.1", "off")

    def test_disabled_means_off_unless_an_own_key_says_otherwise(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, BOTH, env=self.OFF | self.FAKE)
        assert loaded.config.imds.stated_mode == "off"
        assert str(loaded.provenance["imds.mode"]) == "env:AWS_EC2_METADATA_DISABLED"
        assert load(tmp_path, BOTH + "imds:\n  mode: auto\n", env=self.OFF).config.imds.stated_mode == "off"
        assert load(tmp_path, BOTH + "imds:\n  mode: required\n", env=self.OFF).config.imds.stated_mode == "required"
        assert load(tmp_path, BOTH + "imds:\n  endpoint: http://127.0.0.1:1\n", env=self.OFF).config.imds.stated_mode == "required"


class TestTheNode:
    def test_rank_and_count_come_from_the_launcher(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, BOTH, env={"GROUP_RANK": "", "NODE_RANK": "1", "SLURM_NODEID": "2", "SLURM_NNODES": "4"})
        assert (loaded.config.node.rank, loaded.config.node.count) == (1, 4)
        assert str(loaded.provenance["node.rank"]) == "env:NODE_RANK"

    def test_our_own_key_wins(self, tmp_path: Path) -> None:
        assert load(tmp_path, BOTH, env={"GROUP_RANK": "3", "SPOTGUARD_NODE__RANK": "0"}).config.node.rank == 0

    def test_a_rank_without_a_count_is_taken(self, tmp_path: Path) -> None:
        assert load(tmp_path, BOTH, env={"GROUP_RANK": "3"}).config.node.rank == 3


def test_a_key_that_is_not_needed_may_be_unset_until_it_is_asked_for(tmp_path: Path) -> None:
    loaded = load(tmp_path, options=[("watch.dir", "x")], needs=())
    assert str(loaded.provenance["destination.url"]) == "unset"
    require(loaded, "watch.dir")
    with pytest.raises(ConfigError, match=r"^destination\.url is not set; give --url"):
        require(loaded, "destination.url")


def test_the_configuration_is_frozen(tmp_path: Path) -> None:
    config = load(tmp_path, BOTH).config
    with pytest.raises(ValueError, match="frozen"):
        config.upload.concurrency = 3  # type: ignore[misc]


def test_a_path_that_is_no_text_survives(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    assert os.fsencode(load(tmp_path, options=[("watch.dir", odd), ("destination.url", "s3://b/p")]).config.watch.dir).endswith(b"caf\xe9")


@pytest.mark.parametrize(
    ("address", "shown"), [("[::1]:9477", "[::1]:9477"), ("localhost:0", "localhost:0"), ("127.3.4.5:1", "127.3.4.5:1")]
)
def test_loopback_needs_no_token(tmp_path: Path, address: str, shown: str) -> None:
    assert load(tmp_path, BOTH, options=[("http.listen", address)]).config.http.listen == shown


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "trainer-1:1"])
def test_any_other_address_needs_one(tmp_path: Path, address: str) -> None:
    assert "http.token" in refusal(tmp_path, BOTH, options=[("http.listen", address)])[0]
    assert load(tmp_path, BOTH, options=[("http.listen", address), ("http.token", "t")]).config.http.token_text == "t"
