"""The commands, called as a user calls them but in this process."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from spotguard.cli.main import COMMANDS, cli
from spotguard.cli.options import Invocation, configured
from spotguard.config.keys import KEYS
from spotguard.core.problem import Severity
from spotguard.core.status import DaemonState
from spotguard.ports.object_store import StoreDenied
from spotguard.services.single_pass import SyncOutcome
from tests.unit.cli.served_status import problem, served, status

ENOUGH = ["--dir", "out", "--url", "s3://my-bucket/run"]
BUILT = [name for name in COMMANDS if importlib.util.find_spec(f"spotguard.cli.commands.{name}")]


@pytest.fixture(autouse=True)
def _nothing_else_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPOTGUARD_CONFIG", raising=False)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize("name", BUILT)
def test_each_command_has_help_that_begins_with_its_summary(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert COMMANDS[name].split(":")[0].rstrip(".") in " ".join(result.output.split())


@pytest.mark.parametrize(
    "words", [*([name] for name in BUILT if name != "bucket"), ["bucket", "create"], ["bucket", "check"], ["bucket", "policy"]]
)
def test_each_command_has_the_common_options(words: list[str]) -> None:
    result = call(*words, "--help")
    assert result.exit_code == 0
    for option in (
        ("--dir", "--url", "--set", "--json") if words == ["demo"] else ("--config", "--dir", "--url", "--set", "--json", "--verbose")
    ):
        assert option in result.output


def test_the_list_of_commands_is_complete() -> None:
    told = "daemon sync restore resume run list verify adopt bucket status drill doctor config demo"
    assert list(COMMANDS) == told.split()
    result = call("--help")
    assert result.exit_code == 0
    for name, summary in COMMANDS.items():
        assert f"{name} " in result.stdout
        assert summary in result.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            f"spotguard: no command given; one of {', '.join(COMMANDS)}; see 'spotguard --help'",
        ),
        (["statsu"], "spotguard: no such command: statsu; did you mean status?; see 'spotguard --help'"),
        (["config", "extra", *ENOUGH], "spotguard: Got unexpected extra argument (extra); see 'spotguard config --help'"),
        (["config", "--set", "nothing"], "spotguard: --set nothing: write KEY=VALUE; see 'spotguard config --help'"),
        (["status", "--watch", "--check"], "spotguard: --watch and --check exclude each other; see 'spotguard status --help'"),
        (
            ["config", *ENOUGH, "--set", "upload.concurency=3"],
            "spotguard: upload.concurency (option): no such key; did you mean upload.concurrency?",
        ),
        (
            ["daemon", "--dir", "x"],
            "spotguard: destination.url is not set; give --url s3://BUCKET/PREFIX, SPOTGUARD_DESTINATION__URL "
            "or destination.url in a configuration file",
        ),
        (
            ["demo", "--set", "trainer.signal=SIGTERM"],
            "spotguard: trainer.signal = 'SIGTERM' (--set): the demo decides this itself; leave it out",
        ),
        (["demo", "--url", "http://x"], 'spotguard: destination.url = "http://x" (option): must be of the form s3://bucket/prefix'),
        (
            ["demo", "--dir", "/"],
            "spotguard: / is there already, and the demo deletes the folder of its machines; name a folder that does not exist",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: list[str], line: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stderr.splitlines(), result.stdout) == (2, [line], "")


class TestConfig:
    def test_shows_every_key_with_its_source(self, tmp_path: Path) -> None:
        (tmp_path / "spotguard.yaml").write_text("upload:\n  concurrency: 3\n")
        result = call("config", *ENOUGH, "--set", "http.token=hunter2")
        rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:]}
        assert result.stdout.splitlines()[0] == f"# configuration file: {tmp_path}/spotguard.yaml"
        assert set(rows) == set(KEYS)
        assert rows["upload.concurrency"] == ["3", f"file:{tmp_path}/spotguard.yaml:2"]
        assert rows["watch.dir"] == [f"{tmp_path}/out", "option"]
        assert rows["http.token"] == ["***", "option"]
        assert "hunter2" not in result.output

    def test_as_json(self) -> None:
        shown = json.loads(call("config", *ENOUGH, "--json", "--set", "http.token=hunter2").stdout)
        assert shown["file"] is None
        assert shown["config"]["destination"]["url"] == "s3://my-bucket/run"
        assert shown["config"]["http"] == {"listen": "127.0.0.1:9477", "token": "***"}
        assert shown["sources"]["destination.url"] == "option"
        assert set(shown["sources"]) == set(KEYS)


class TestStatus:
    def test_no_daemon_is_exit_5_with_one_line(self) -> None:
        result = call("status", "--set", "http.listen=127.0.0.1:1")
        assert result.exit_code == 5
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("spotguard: no daemon answers at 127.0.0.1:1")

    def test_it_needs_no_directory_and_no_url(self) -> None:
        with served(status()) as address:
            result = call("status", "--set", f"http.listen={address}")
        assert result.exit_code == 0
        assert result.stdout.splitlines()[0].startswith(" OK  nothing waits to be saved")

    def test_json_is_what_the_daemon_answers(self) -> None:
        with served(status(problems=(problem(),))) as address:
            shown = json.loads(call("status", "--json", "--set", f"http.listen={address}").stdout)
        assert (shown["state"], shown["problems"][0]["code"]) == ("watching", "store-denied")
        assert shown["checkpoints"][0]["name"] == "sft/checkpoint-100"

    @pytest.mark.parametrize(("severity", "code"), [(Severity.ERROR, 1), (Severity.WARNING, 0)])
    def test_check_fails_on_errors_only(self, severity: Severity, code: int) -> None:
        with served(status(problems=(problem(severity),))) as address:
            assert call("status", "--check", "--set", f"http.listen={address}").exit_code == code
            assert call("status", "--set", f"http.listen={address}").exit_code == 0

    def test_over_a_unix_socket(self, tmp_path: Path) -> None:
        with served(status(DaemonState.FENCED), f"unix:{tmp_path}/s") as address:
            result = call("status", "--set", f"http.listen={address}")
        assert result.stdout.startswith(" FENCED ")

    def test_with_a_token(self) -> None:
        with served(status(), "0.0.0.0:0", token="t0ken") as address:
            options = ["status", "--set", f"http.listen={address}", "--set"]
            assert call(*options, "http.token=t0ken").exit_code == 0
            refused = call(*options, "http.token=other")
        assert refused.exit_code == 5
        assert "http.token" in refused.stderr

    def test_without_an_address_it_cannot_be_asked(self) -> None:
        assert call("status", "--set", "http.listen=null").exit_code == 5


class TestSync:
    @pytest.fixture
    def outcome(self, monkeypatch: pytest.MonkeyPatch) -> list[SyncOutcome | Exception]:
        """What the pass comes to; the test fills it."""
        outcomes: list[SyncOutcome | Exception] = []

        async def run_sync(config: object, progress: object) -> SyncOutcome:
            if isinstance(outcomes[0], Exception):
                raise outcomes[0]
            return outcomes[0]

        stand_in = ModuleType("spotguard.assembly.syncing")
        stand_in.run_sync = run_sync  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "spotguard.assembly.syncing", stand_in)
        return outcomes

    def test_tells_what_was_done_and_what_was_not(self, outcome: list[SyncOutcome | Exception]) -> None:
        outcome.append(SyncOutcome(("c-2",), 1, (("c-3", "no marker yet"),), (("c-1", "it is a\nFIFO"),)))
        result = call("sync", *ENOUGH)
        assert result.exit_code == 1
        assert result.stdout.splitlines() == ["committed c-2", "not finished: c-3: no marker yet", "1 checkpoint committed already"]
        assert result.stderr.splitlines() == ["spotguard: c-1 was not committed: it is a\\x0aFIFO"]

    def test_as_json(self, outcome: list[SyncOutcome | Exception]) -> None:
        outcome.append(SyncOutcome(("c-2",), 3, (("c-3", "why"),), (), flushed_by_daemon=True))
        assert json.loads(call("sync", "--json", *ENOUGH).stdout) == {
            "committed": ["c-2"],
            "already": 3,
            "unfinished": [{"name": "c-3", "reason": "why"}],
            "failed": [],
            "flushed_by_daemon": True,
            "exit_status": 0,
        }

    def test_a_store_that_denies_is_exit_5(self, outcome: list[SyncOutcome | Exception]) -> None:
        outcome.append(StoreDenied("PutObject on s3://my-bucket is denied", "grant s3:PutObject"))
        result = call("sync", *ENOUGH)
        assert (result.exit_code, result.stdout) == (5, "")
        assert result.stderr == "spotguard: PutObject on s3://my-bucket is denied; grant s3:PutObject\n"


class TestAnyCommand:
    @staticmethod
    def failing(error: BaseException) -> click.Command:
        @click.command()
        @configured(needs=())
        def command(invocation: Invocation) -> None:
            raise error

        return command

    def run(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, *arguments: str) -> Result:
        stand_in = ModuleType("spotguard.cli.commands.list")
        stand_in.command = self.failing(error)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "spotguard.cli.commands.list", stand_in)
        return call("list", *arguments)

    def test_an_unexpected_error_is_one_line_and_its_traceback_is_a_word_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        result = self.run(monkeypatch, ZeroDivisionError("oh"))
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert "Traceback" in self.run(monkeypatch, ZeroDivisionError("oh"), "-v").stderr
        monkeypatch.setenv("SPOTGUARD_DEBUG", "1")
        assert "Traceback" in self.run(monkeypatch, ZeroDivisionError("oh")).stderr

    def test_ctrl_c_is_quiet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        result = self.run(monkeypatch, KeyboardInterrupt())
        assert (result.exit_code, result.output) == (130, "")
