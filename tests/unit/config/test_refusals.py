"""Every mistake is one line that names key, value, and line or variable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spotguard.config.errors import ConfigError
from spotguard.config.sources import require_target
from tests.unit.config.loading import BOTH, load, refusal

TARGETS = "trainer.pid_file, trainer.process, trainer.systemd_unit, trainer.docker_container"

IN_THE_FILE = [
    ("upload:\n  concurrency: 99\n", "upload.concurrency = 99 (c.yaml line 6): must be at most 64"),
    ("upload:\n  concurrency: 0\n", "upload.concurrency = 0 (c.yaml line 6): must be at least 1"),
    ("upload:\n  part_size_mib: 4\n", "upload.part_size_mib = 4 (c.yaml line 6): must be at least 5"),
    ("upload:\n  part_size_mib: 5121\n", "upload.part_size_mib = 5121 (c.yaml line 6): must be at most 5120"),
    ("upload:\n  part_size_mib: true\n", "upload.part_size_mib = true (c.yaml line 6): must be a whole number"),
    ("upload:\n  part_size_mib: 16.5\n", "upload.part_size_mib = 16.5 (c.yaml line 6): must be a whole number"),
    ("upload:\n  max_megabits_per_second: 0\n", "upload.max_megabits_per_second = 0 (c.yaml line 6): must be more than 0"),
    ("upload:\n  max_megabits_per_second: 1e999\n", "upload.max_megabits_per_second = Infinity (c.yaml line 6): must be a finite number"),
    ("imds:\n  poll_seconds: 10s\n", 'imds.poll_seconds = "10s" (c.yaml line 6): must be a number'),
    ("imds:\n  mode: on\n", 'imds.mode = "on" (c.yaml line 6): must be auto, required or off'),
    (
        "imds:\n  endpoint: 169.254.169.254\n",
        'imds.endpoint = "169.254.169.254" (c.yaml line 6): must be of the form http://HOST:PORT or https://HOST',
    ),
    (
        "trainer:\n  recipe: hf\n",
        'trainer.recipe = "hf" (c.yaml line 6): is no recipe; the recipes are hf-trainer, '
        "lightning, torchrun, accelerate, deepspeed, nemo, megatron, orbax, composer, plain",
    ),
    (
        "trainer:\n  process: a\n  signal: KILL\n",
        'trainer.signal = "KILL" (c.yaml line 7): SIGKILL cannot be caught, so the trainer could not save; use SIGTERM or SIGUSR1',
    ),
    (
        "trainer:\n  process: a\n  signal: FOO\n",
        'trainer.signal = "FOO" (c.yaml line 7): is not a signal; write a name such as SIGUSR1 or SIGTERM',
    ),
    (
        "trainer:\n  process: '['\n",
        'trainer.process = "[" (c.yaml line 6): is not a regular expression: unterminated character set at position 0',
    ),
    (
        "trainer:\n  pid_file: /a\n  process: b\n",
        'trainer.pid_file = "/a" (c.yaml line 6), trainer.process = "b" (c.yaml line 7): there is one target at most; keep one of them',
    ),
    (
        "hooks:\n  on_safe: echo hi\n",
        'hooks.on_safe = "echo hi" (c.yaml line 6): must be a list of words, not one text; write ["sh", "-c", "echo hi"]',
    ),
    (
        "hooks:\n  on_safe: []\n",
        'hooks.on_safe = [] (c.yaml line 6): names no command; write for example ["/usr/local/bin/notify", "--urgent"]',
    ),
    ("hooks:\n  on_safe: [sleep, 5]\n", "hooks.on_safe[1] = 5 (c.yaml line 6): must be text; quote it"),
    (
        "http:\n  listen: 0.0.0.0:9477\n",
        'http.listen = "0.0.0.0:9477" (c.yaml line 6), http.token = null (default): '
        "others can reach this address; set http.token or listen on 127.0.0.1",
    ),
    ("http:\n  listen: 9477\n", "http.listen = 9477 (c.yaml line 6): must be text; quote it"),
    ("http:\n  listen: ':9477'\n", 'http.listen = ":9477" (c.yaml line 6): is not an address: write HOST:PORT, [IPV6]:PORT or unix:/path'),
    ("http:\n  listen: 127.0.0.1:70000\n", 'http.listen = "127.0.0.1:70000" (c.yaml line 6): the port must be a number from 0 to 65535'),
    (
        "http:\n  listen: unix:x.sock\n",
        'http.listen = "unix:x.sock" (c.yaml line 6): the path of a unix socket must be absolute: write unix:/run/spotguard/http.sock',
    ),
    (
        "http:\n  token: a b\n",
        "http.token = *** (c.yaml line 6): must be ASCII letters, digits and signs without spaces, because it travels in a header",
    ),
    ("interruption:\n  margin_seconds: 120\n", "interruption.margin_seconds = 120 (c.yaml line 6): must be less than 120"),
    (
        "interruption:\n  margin_seconds: 115\n",
        "imds.poll_seconds = 5 (default), interruption.margin_seconds = 115 (c.yaml line 6): "
        "a notice comes 120 s ahead, and these together leave nothing of it; lower one",
    ),
    (
        "node:\n  rank: 2\n  count: 2\n",
        "node.rank = 2 (c.yaml line 6), node.count = 2 (c.yaml line 7): ranks go from 0 to the count less one",
    ),
    ("log:\n  format: xml\n", 'log.format = "xml" (c.yaml line 6): must be auto, console or json'),
    ("log:\n  levle: info\n", "log.levle (c.yaml line 6): no such key; did you mean log.level?"),
    ("log:\n  colour: red\n", "log.colour (c.yaml line 6): no such key; the keys of log are level, format"),
    ("http:\n  pid_file: x\n", "http.pid_file (c.yaml line 6): no such key; did you mean trainer.pid_file?"),
    ("uplaod:\n  concurrency: 1\n", "uplaod (c.yaml line 5): no such key; did you mean upload?"),
    ("listen: 127.0.0.1:1\n", "listen (c.yaml line 5): no such key; did you mean http.listen?"),
    ("http.listen: 127.0.0.1:1\n", "http.listen (c.yaml line 5): no such key; keys stand in sections: write them nested"),
    ("log: debug\n", 'log = "debug" (c.yaml line 5): is a section; its keys are log.level, log.format'),
    ("log:\n  level:\n    is: info\n", 'log.level = {"is": "info"} (c.yaml line 6): must be one value, not a section'),
    ("log:\n  level: info\n  level: debug\n", "c.yaml line 7: has the key level twice; it stands on line 6 already"),
    ("watch:\n  layout: auto\n", "c.yaml line 5: has the key watch twice; it stands on line 1 already"),
    ("log: [a\n", "c.yaml line 6: expected ',' or ']', but got '<stream end>'"),
    ("\tlog: a\n", "c.yaml line 5: a tab cannot indent; use spaces"),
    ("log:\n  level: *info\n", "c.yaml line 6: a value that begins with * must be quoted"),
    ("log:\n  level: *.log\n", "c.yaml line 6: a value that begins with * or & must be quoted"),
    (
        "log:\n  level: !!python/name:os.system x\n",
        "c.yaml line 6: has the tag tag:yaml.org,2002:python/name:os.system, which is not read here; remove it",
    ),
    ("---\nlog: {}\n", "c.yaml line 5: holds more than one document"),
    ("destination2:\n  url: x\n", "destination2 (c.yaml line 5): no such key; did you mean destination?"),
]


@pytest.mark.parametrize(("more", "line"), IN_THE_FILE, ids=[line[:40] for _, line in IN_THE_FILE])
def test_a_bad_file_is_refused_with_one_line(tmp_path: Path, more: str, line: str) -> None:
    assert refusal(tmp_path, BOTH + more) == [line]


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://b/p", "must be of the form s3://bucket/prefix"),
        ("my-bucket/p", "must be of the form s3://bucket/prefix"),
        ("s3:///p", "'' is not the name of a bucket; write s3://bucket/prefix"),
        ("s3://b_/p", "'b_' is not the name of a bucket; write s3://bucket/prefix"),
        ("s3://bucket/a//b", "has an empty folder (two slashes) in its prefix; remove one"),
        ("s3://bucket//", "has an empty folder (two slashes) in its prefix; remove one"),
        ("s3://bucket/a/../b", "has '.' or '..' in its prefix; write the prefix itself"),
        ("s3://bucket/a/.spotguard/b", "leads into the records of a run (.spotguard); name the prefix above it"),
        ("s3://bucket/a\n", "contains a control character"),
        ("", "is empty; leave the key out or give it a value"),
    ],
)
def test_a_destination_that_is_no_run_is_refused(tmp_path: Path, url: str, wrong: str) -> None:
    [line] = refusal(tmp_path, options=[("watch.dir", "x"), ("destination.url", url)])
    assert line.startswith("destination.url = ")
    assert line.endswith(f" (option): {wrong}")


def test_several_mistakes_are_several_lines(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path,
        "watch:\n  dirr: x\n",
        env={"SPOTGUARD_UPLOAD__CONCURRENCY": "many", "SPOTGUARD_WATHC__DIR": "x"},
        options=[("log.level", "loud")],
    )
    assert lines == [
        "watch.dirr (c.yaml line 2): no such key; did you mean watch.dir?",
        "SPOTGUARD_WATHC__DIR: no such key; did you mean watch.dir?",
        "destination.url is not set; give --url s3://BUCKET/PREFIX, SPOTGUARD_DESTINATION__URL or destination.url in a configuration file",
        'upload.concurrency = "many" (variable SPOTGUARD_UPLOAD__CONCURRENCY): must be a whole number',
        'log.level = "loud" (option): must be debug, info, warning or error',
    ]


def test_variables_of_others_are_named_when_they_are_wrong(tmp_path: Path) -> None:
    assert refusal(tmp_path, BOTH, env={"SLURM_NODEID": "first"}) == ['node.rank = "first" (variable SLURM_NODEID): must be a whole number']


def test_a_list_in_a_variable_must_look_like_one(tmp_path: Path) -> None:
    assert refusal(tmp_path, BOTH, env={"SPOTGUARD_WATCH__EXCLUDE": "*.bak"}) == [
        'watch.exclude = "*.bak" (variable SPOTGUARD_WATCH__EXCLUDE): must be a list of patterns; write ["*.bak"]'
    ]


@pytest.mark.parametrize("pattern", ["!", "cache\\", "[z-a].bin"])
def test_a_pattern_that_is_none_is_named(tmp_path: Path, pattern: str) -> None:
    (line,) = refusal(tmp_path, BOTH, options=[("watch.exclude", json.dumps([pattern]))])
    assert line.startswith("watch.exclude = ")
    assert line.endswith(f"(option): has a pattern that gitignore does not know: {pattern!r}")


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    lines = refusal(tmp_path, BOTH, env={"SPOTGUARD_HTTP__TOKEN": "hunter 2"})
    assert lines
    assert not any("hunter" in line for line in lines)
    assert "hunter2" not in repr(load(tmp_path, BOTH, env={"SPOTGUARD_HTTP__TOKEN": "hunter2"}).config)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"- a\n", "c.yaml line 1: must consist of sections such as `watch:` and `destination:`"),
        (b"watch:\n  dir: \xff\n", "c.yaml line 2: is not UTF-8 text"),
        (b"watch:\n\n  dir: a\0b\n", "c.yaml line 3: contains a character that YAML does not allow"),
        (b"? [a]\n: b\n", "c.yaml line 1: has a key that is not a word"),
        (b"[" * 5000, "c.yaml line 1: is not YAML that can be read here"),
        (b"#" * ((1 << 20) + 1), "c.yaml line 1: is larger than a configuration can be (1 MiB)"),
    ],
)
def test_what_is_no_configuration_at_all_is_refused(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "spotguard.yaml").write_bytes(content)
    assert [found.replace(str(tmp_path / "spotguard.yaml"), "c.yaml") for found in refusal(tmp_path)] == [line]


@pytest.mark.parametrize("key", ["trainer.signal", "trainer.checkpoint_signal"])
def test_beside_a_daemon_a_signal_needs_a_target(tmp_path: Path, key: str) -> None:
    loaded = load(tmp_path, BOTH + f"trainer:\n  {key.partition('.')[2]}: USR1\n")
    with pytest.raises(ConfigError) as refused:
        require_target(loaded)
    (line,) = refused.value.lines
    assert line.replace(str(tmp_path / "c.yaml"), "c.yaml") == (
        f'{key} = "SIGUSR1" (c.yaml line 6): a signal needs a target; give one of {TARGETS}, or start the trainer by `spotguard run`'
    )
    require_target(load(tmp_path, BOTH + "trainer:\n  process: train\n  signal: USR1\n"))
