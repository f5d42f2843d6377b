"""What keeps the daemon from its bucket: each told in one line, with its exit status, and nothing lost once it is mended."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spotguard.core.run_keys import RunKeys
from tests.e2e.world import checkpoint_in, committed_in, keys_in, problems_of, s3_client, state_of, wait_until, write_checkpoint
from tests.support.daemon_process import CommandMachine
from tests.support.meddling_proxy import Answer, Asked, MeddlingProxy, meddling, refusal
from tests.support.servers import Endpoint, moto

BUCKET = "refused"
OLD_KEY, NEW_KEY = "OLDKEY", "NEWKEY"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        s3_client(running.url).create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[MeddlingProxy]:
    with meddling(endpoint.url) as proxy:
        yield proxy


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said beside the log."""
    return [line for line in done.stderr.splitlines() if not line.startswith("{")]


def in_the_wrong_region(asked: Asked) -> Answer:
    if asked.method == "HEAD":
        return Answer(301, headers={"x-amz-bucket-region": "eu-west-1"})
    return refusal(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.")


def signed_for_the_wrong_region(asked: Asked) -> Answer:
    wrong = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
    return Answer(400) if asked.method == "HEAD" else refusal(400, "AuthorizationHeaderMalformed", wrong)


def denied(asked: Asked) -> Answer:
    return Answer(403) if asked.method == "HEAD" else refusal(403, "AccessDenied", "Access Denied")


@pytest.mark.parametrize("meddle", [in_the_wrong_region, signed_for_the_wrong_region])
@pytest.mark.parametrize("command", ["daemon", "restore"])
def test_a_bucket_in_another_region_is_told_with_its_region(proxy: MeddlingProxy, tmp_path: Path, meddle: Any, command: str) -> None:
    proxy.meddle = meddle
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/region", endpoint_url=proxy.url) as machine:
        done = machine.spotguard(command)
    (line,) = told(done)
    assert (done.returncode, "region" in line, "eu-west-1" in line) == (5, True, True), line
    assert proxy.meddled


@pytest.mark.parametrize("command", ["restore", "list", "sync"])
def test_a_denial_never_looks_empty(proxy: MeddlingProxy, tmp_path: Path, command: str) -> None:
    proxy.meddle = denied
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/denied", endpoint_url=proxy.url) as machine:
        done = machine.spotguard(command)
    (line,) = told(done)
    assert (done.returncode, done.stdout, "AccessDenied" in line, "spotguard bucket policy" in line) == (5, "", True, True), line


def test_a_daemon_that_is_denied_says_so_and_commits_once_it_is_allowed(proxy: MeddlingProxy, endpoint: Endpoint, tmp_path: Path) -> None:
    proxy.meddle = denied
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/run1", endpoint_url=proxy.url) as machine:
        daemon = machine.daemon(ready=False)
        files = write_checkpoint(machine.output, 1, 50_000, random.Random(1))
        wait_until(lambda: machine_says(daemon, "store-denied"))
        assert daemon.get("/readyz")[0] == 503
        proxy.meddle = lambda asked: None
        wait_until(lambda: state_of(daemon.status(), "checkpoint-1") == "committed", seconds=60)
        assert "store-denied" not in problems_of(daemon.status())
        assert daemon.stop() == 0
    assert committed_in(s3_client(endpoint.url), BUCKET)["checkpoint-1"] == files


def machine_says(daemon: Any, problem: str) -> bool:
    try:
        return problem in problems_of(daemon.status())
    except OSError:
        return False  # not listening yet


def test_a_daemon_that_ends_denied_says_what_was_not_saved(proxy: MeddlingProxy, tmp_path: Path) -> None:
    settings = {"interruption.shutdown_grace_seconds": 2}
    proxy.meddle = denied
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/unsaved", endpoint_url=proxy.url, settings=settings) as machine:
        daemon = machine.daemon(ready=False)
        write_checkpoint(machine.output, 1, 5_000, random.Random(1))
        wait_until(lambda: machine_says(daemon, "store-denied") and state_of(daemon.status(), "checkpoint-1") == "complete")
        assert daemon.stop() == 6
        assert json.loads(daemon.log_tail(1))["left_unsaved"] == ["checkpoint-1"]


@pytest.mark.slow
@pytest.mark.parametrize("answer", [refusal(400, "ExpiredToken", "The provided token has expired."), refusal(403, "InvalidAccessKeyId")])
def test_credentials_that_expire_in_mid_upload_are_read_again(
    proxy: MeddlingProxy, endpoint: Endpoint, tmp_path: Path, answer: Answer
) -> None:
    credentials = tmp_path / "credentials"
    expired: list[bool] = []

    def expires_at_the_second_part(asked: Asked) -> Answer | None:
        if asked.is_part:
            expired.append(True)
        return answer if len(expired) > 1 and asked.access_key == OLD_KEY else None

    def write_credentials(key: str) -> None:
        credentials.write_text(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\naws_session_token = token-of-{key}\n"
        )

    write_credentials(OLD_KEY)
    proxy.meddle = expires_at_the_second_part
    run = answer.body.decode().partition("<Code>")[2].partition("<")[0]
    settings = {"upload.part_size_mib": 5}
    with CommandMachine(tmp_path / "m", url=f"s3://{BUCKET}/{run}/run1", endpoint_url=proxy.url, settings=settings) as machine:
        machine.variables = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        daemon = machine.daemon()
        files = write_checkpoint(machine.output, 1, 21_000_000, random.Random(1))
        wait_until(lambda: "store-denied" in problems_of(daemon.status()))
        (problem,) = (problem for problem in daemon.status()["problems"] if problem["code"] == "store-denied")
        assert problem["fix"], problem
        assert state_of(daemon.status(), "checkpoint-1") != "committed"
        write_credentials(NEW_KEY)
        wait_until(lambda: state_of(daemon.status(), "checkpoint-1") == "committed", seconds=60)
        assert daemon.status()["problems"] == []
        restored = machine.json("restore", "--to", tmp_path / "restored")
        assert {path: (Path(restored["path"]) / path).read_bytes() for path in files} == files
        assert daemon.stop() == 0
    assert proxy.meddled


def test_a_clock_that_is_off_is_told_and_corrected(proxy: MeddlingProxy, tmp_path: Path) -> None:
    proxy.clock_ahead_seconds = ahead = 400.0
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/clock", endpoint_url=proxy.url) as machine:
        daemon = machine.daemon()
        write_checkpoint(machine.output, 1, 5_000, random.Random(1))
        written = (machine.output / "checkpoint-1/trainer_state.json").stat().st_mtime
        wait_until(lambda: state_of(daemon.status(), "checkpoint-1") == "committed")
        saved_at = datetime.fromisoformat(checkpoint_in(daemon.status(), "checkpoint-1")["saved_at"]).timestamp()
        assert abs(saved_at - written - ahead) < 5
        wait_until(lambda: "clock-off" in problems_of(daemon.status()))
        (problem,) = daemon.status()["problems"]
        assert problem["message"] in ("the local clock is 400 s behind S3's", "the local clock is 399 s behind S3's")
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("prefix", "relation", "command"),
    [("outer/inner/deeper", "inside", "daemon"), ("outer", "around", "daemon"), ("outer", "around", "sync")],
)
def test_a_prefix_inside_or_around_another_run_is_refused(
    endpoint: Endpoint, tmp_path: Path, prefix: str, relation: str, command: str
) -> None:
    client, claim = s3_client(endpoint.url), RunKeys(BUCKET, "outer/inner").claim(1)
    client.put_object(Bucket=BUCKET, Key=claim, Body=b"{}")
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/{prefix}", endpoint_url=endpoint.url) as machine:
        write_checkpoint(machine.output, 1, 5_000, random.Random(1))
        done = machine.spotguard(command)
    (line,) = told(done)
    assert (done.returncode, f"lies {relation} the run s3://{BUCKET}/outer/inner" in line) == (2, True), line
    assert keys_in(client, BUCKET, "outer") == [claim]


@pytest.mark.parametrize(
    ("command", "content", "line"),
    [
        ("daemon", "watch: {dir: out}\ndestnation: {url: s3://b/p}\n", "destnation"),
        ("restore", "watch: {dir: out, settle_seconds: soon}\ndestination: {url: s3://b/p}\n", "settle_seconds"),
        ("daemon", "watch: [unclosed\n", "line 2"),
        ("restore", None, "no such file"),
    ],
)
def test_a_configuration_that_is_none_ends_with_2_before_anything_is_touched(
    tmp_path: Path, command: str, content: str | None, line: str
) -> None:
    with CommandMachine(tmp_path, url=f"s3://{BUCKET}/x", endpoint_url="http://127.0.0.1:9") as machine:
        machine.config_file.unlink()
        if content is not None:
            machine.config_file.write_text(content)
        done = machine.spotguard(command)
        assert (done.returncode, done.stdout) == (2, "")
        assert any(line in said.lower() for said in told(done)), done.stderr
        assert all(said.startswith("spotguard: ") for said in told(done)), done.stderr
    assert not (tmp_path / "out").exists()
