"""The commands that bring back, as processes, against a real S3 server: what they say, and with which status they end."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.e2e.place import Place, one_line
from tests.support.committed_run import CommittedRun, content_of, hf_files
from tests.support.servers import Endpoint, moto

STATE = {"training_state.json": b'{"step": 100}'}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with moto.running() as running:
        yield running


@pytest.fixture
def place(endpoint: Endpoint, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    place = Place(endpoint, f"b{abs(hash(request.node.nodeid)):x}", tmp_path / "out")
    place.client.create_bucket(Bucket=place.bucket)
    return place


async def two_stages(run: CommittedRun) -> None:
    await run.commit("sft/checkpoint-50", hf_files(50))
    await run.commit("sft/checkpoint-100", hf_files(100, 40_000), companions=STATE)
    await run.add_loose("notes.txt", b"notes")


def test_restore_brings_the_newest_and_says_so(place: Place) -> None:
    place.commit(two_stages)
    done = place.run("restore")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("restored sft/checkpoint-100 (step 100, saved ")
    assert "by i-0abc) to " in done.stdout
    assert content_of(place.root) == {
        **{f"sft/checkpoint-100/{path}": content for path, content in hf_files(100, 40_000).items()},
        **STATE,
        "notes.txt": b"notes",
    }
    again = json.loads(place.run("restore", "--json").stdout)
    assert (again["files_fetched"], again["files_reused"], again["source"]) == (0, 3, "remote")


def test_a_restore_to_an_empty_folder_loads_only_what_it_needs(place: Place) -> None:
    place.commit(two_stages)
    command = place.command("restore")
    command[1:1] = ["-X", "importtime"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True, env=place.environment())
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"pydantic", "_awscrt"} <= loaded
    unneeded = {"boto3", "botocore", "yaml", "pathspec", "aiohttp", "psutil", "spotguard.core.layouts.registry"}
    assert loaded & unneeded == set()
    assert (place.root / "sft/checkpoint-100/model.safetensors").exists()


def test_credentials_of_a_profile_are_as_good_as_those_of_the_environment(place: Place, tmp_path: Path) -> None:
    place.commit(two_stages)
    named = place.environment(AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"), AWS_PROFILE="mine")
    keys = {name.lower(): named.pop(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    (tmp_path / "credentials").write_text("[mine]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items()))
    done = subprocess.run(place.command("restore"), capture_output=True, text=True, timeout=50, check=False, env=named)
    assert (done.returncode, done.stderr) == (0, "")
    del named["AWS_PROFILE"]
    done = subprocess.run(place.command("restore"), capture_output=True, text=True, timeout=50, check=False, env=named)
    assert done.returncode == 5
    assert "no usable AWS credentials" in one_line(done)


def test_restore_to_another_folder_and_by_name(place: Place, tmp_path: Path) -> None:
    place.commit(two_stages)
    done = place.run("restore", "sft/checkpoint-50", "--to", str(tmp_path / "elsewhere"), "--json")
    assert json.loads(done.stdout)["path"] == str(tmp_path / "elsewhere/sft/checkpoint-50")
    assert content_of(tmp_path / "elsewhere/sft/checkpoint-50") == hf_files(50)
    assert not place.root.exists()


def test_each_reason_for_nothing_has_its_status_and_one_line(place: Place) -> None:
    done = place.run("restore")
    assert (done.returncode, one_line(done)) == (3, f"spotguard: nothing to restore: {place.url} is empty\n")
    place.client.put_object(Bucket=place.bucket, Key="run1/checkpoint-9/trainer_state.json", Body=b"{}")
    place.client.put_object(Bucket=place.bucket, Key="run1/checkpoint-9/model.safetensors", Body=b"12345678")
    done = place.run("restore")
    assert (done.returncode, "adopt" in one_line(done), "--fresh" in done.stderr) == (4, True, True)
    place.commit(two_stages)
    for key in ("run1/sft/checkpoint-50/config.json", "run1/sft/checkpoint-100/config.json"):
        place.client.delete_object(Bucket=place.bucket, Key=key)
    done = place.run("restore")
    assert (done.returncode, "config.json is missing" in one_line(done)) == (4, True)
    place.bucket = "there-is-none"
    assert place.run("restore").returncode == 5


def test_list_and_verify(place: Place) -> None:
    done = place.run("list")
    assert (done.returncode, done.stdout) == (0, "")
    place.commit(two_stages)
    done = place.run("list")
    rows = [line.split("\t")[:3] for line in done.stdout.splitlines()]
    assert rows == [["sft/checkpoint-100", "100", "1"], ["sft/checkpoint-50", "50", "1"]]
    first = json.loads(place.run("list", "--json").stdout)["checkpoints"][0]
    assert (first["name"], first["files"], first["host"]["instance_id"]) == ("sft/checkpoint-100", 3, "i-0abc")
    assert place.run("verify").returncode == 0
    place.client.put_object(Bucket=place.bucket, Key="run1/sft/checkpoint-50/config.json", Body=b"[]")
    done = place.run("verify")
    assert done.returncode == 4
    assert "sft/checkpoint-50 (generation 1): the object run1/sft/checkpoint-50/config.json is damaged" in one_line(done)
    assert place.run("verify", "sft/checkpoint-100", "--json").returncode == 0


SHOW = """import json, os, sys
print(json.dumps([sys.argv[1:], {k: v for k, v in os.environ.items() if k.startswith("SPOTGUARD_")},
                  sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}"))]))
sys.exit(17)"""


def test_resume_becomes_the_command_with_nothing_of_ours_left_in_it(place: Place) -> None:
    place.commit(two_stages)
    done = place.run("resume", "--", sys.executable, "-c", SHOW, "--stage", "{stage}", "--resume={checkpoint}", "{step}")
    first, shown = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (17, "")
    assert first.startswith("resuming sft/checkpoint-100 (step 100, saved ")
    arguments, variables, descriptors = json.loads(shown)
    path = str(place.root / "sft/checkpoint-100")
    assert arguments == ["--stage", "sft", f"--resume={path}", "100"]
    assert variables == {"SPOTGUARD_CHECKPOINT": path, "SPOTGUARD_STAGE": "sft", "SPOTGUARD_STEP": "100"}
    assert descriptors[:3] == [0, 1, 2]
    assert len(descriptors) == 3
    ignored = place.run("resume", "--", "grep", "SigIgn", "/proc/self/status").stdout.splitlines()[-1]
    settable = sum(1 << (number - 1) for number in signal.valid_signals())  # the C library keeps 32 and 33 to itself
    assert int(ignored.split()[1], 16) & settable == 0


def test_resume_starts_fresh_only_when_there_is_nothing(place: Place) -> None:
    done = place.run("resume", "--", "echo", "go", "--resume", "{checkpoint}")
    assert (done.returncode, done.stdout) == (0, f"starting fresh: {place.url} is empty\ngo\n")
    place.commit(two_stages)
    fresh = place.run("resume", "--fresh", "--", "echo", "go", "{step}")
    first, second = fresh.stdout.splitlines()
    assert (second, place.root.exists() and any(place.root.iterdir())) == ("go", False)
    assert first.startswith(f"starting fresh: {place.url} has 2 checkpoints ignored, the newest sft/checkpoint-100")
    place.bucket = "there-is-none"
    denied = place.run("resume", "--", "echo", "go")
    assert (denied.returncode, denied.stdout) == (5, "")


def test_resume_of_a_finished_run_starts_nothing_unless_told_to(place: Place) -> None:
    place.client.put_object(Bucket=place.bucket, Key="run1/.spotguard/finished.json", Body=b'{"finished_at": "2026-11-23T20:00:00Z"}')
    done = place.run("resume", "--", "echo", "go")
    assert (done.returncode, "go\n" in done.stdout) == (0, False)
    assert done.stdout.startswith(f"finished: {place.url} was recorded as finished at 2026-11-23T20:00:00Z")
    assert place.run("resume", "--again", "--", "echo", "go").stdout.endswith("\ngo\n")


def test_a_command_that_does_not_exist_is_125(place: Place) -> None:
    done = place.run("resume", "--", "no-such-command")
    assert (done.returncode, "cannot start no-such-command: not found" in one_line(done)) == (125, True)


def test_the_trainer_is_not_started_while_a_notice_is_pending(place: Place) -> None:
    class Notice(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.answer(200, b"token")

        def do_GET(self) -> None:
            action = b'{"action": "terminate", "time": "2099-01-01T00:00:00Z"}'
            self.answer(200, action) if self.path.endswith("spot/instance-action") else self.answer(404, b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "21600")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Notice) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = place.run("resume", "--", "echo", "go", settings=(f"imds.endpoint=http://127.0.0.1:{server.server_port}",))
        server.shutdown()
    assert (done.returncode, done.stdout) == (75, "")
    assert "this instance will be terminated" in one_line(done)


async def a_large_one(run: CommittedRun) -> None:
    await run.commit("checkpoint-50", hf_files(50))
    files = {f"shard-{n}.dat": random.Random(n).randbytes(5 << 20) for n in range(8)}
    await run.commit("checkpoint-100", {**hf_files(100), **files})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_restore_that_is_killed_at_any_moment_leaves_nothing_half(place: Place, number: signal.Signals) -> None:
    place.commit(a_large_one)
    rng = random.Random(int(number))
    began = time.monotonic()
    assert place.run("restore", "--to", str(place.root.parent / "measure")).returncode == 0
    whole = content_of(place.root.parent / "measure/checkpoint-100")
    took = time.monotonic() - began
    for _ in range(2):
        process = subprocess.Popen(place.command("restore"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=place.environment())
        time.sleep(took * rng.uniform(0.3, 0.95))
        process.send_signal(number)
        status = process.wait(20)
        assert status in (0, -number, 128 + number)
        folder = place.root / "checkpoint-100"
        if folder.exists():
            assert content_of(folder) == whole
            break
    assert place.run("restore").returncode == 0
    assert content_of(place.root / "checkpoint-100") == whole
    assert [path.name for path in place.root.iterdir()] == ["checkpoint-100"]
