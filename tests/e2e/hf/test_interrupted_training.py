"""The real Hugging Face Trainer is interrupted by a notice, restored into an empty folder, and ends as if nothing had happened."""

from __future__ import annotations

import filecmp
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spotguard.demo.daemon_process import DaemonProcess
from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from spotguard.demo.training_process import TrainingProcess
from tests.e2e.hf.training_run import STEPS, TRAIN_TINY, Ending, ending_of, start_training, wait_for
from tests.e2e.world import keys_in, s3_client
from tests.support.daemon_process import CommandMachine
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.needs_hf, pytest.mark.slow, pytest.mark.timeout(240)]

NOTICE_SECONDS = 60


def _settings(machine_folder: Path, metadata: MetadataProcess) -> dict[str, Any]:
    return {
        "imds.mode": "required",
        "imds.endpoint": metadata.url,
        "imds.poll_seconds": 1,
        "trainer.pid_file": str(machine_folder / "trainer.pid"),
        "trainer.signal": "SIGTERM",  # what enable_jit_checkpoint listens to
    }


def _until_recorded(bucket: EmbeddedS3, prefix: str) -> None:
    """The verdict is in the bucket: from then on nobody waits for this machine, which may go."""
    records = f"{prefix}/.spotguard/interruptions/"
    wait_for("the record of the interruption", lambda: keys_in(s3_client(bucket.url), "hf-runs", records) or None)


def _committed(daemon: DaemonProcess) -> list[str]:
    return [entry["name"] for entry in daemon.status()["checkpoints"] if entry["generation"] > 0]


def _verdict_after(daemon: DaemonProcess, final: str) -> dict[str, Any] | None:
    """The trainer waits 3 s before it serves the signal. A regular save in that time may be followed by a first, passing `safe`."""
    status = daemon.status()
    judged = status["state"] in ("safe", "unsafe") and any(entry["name"] == final for entry in status["checkpoints"])
    return status if judged else None


def _figures(status: dict[str, Any], daemon_log: Path, final: str) -> str:
    """The status tells whole seconds of a checkpoint; the log tells how long its last write was ago when it was committed."""
    detected, signalled = (datetime.fromisoformat(moment) for moment in _moments(status))
    lines = [json.loads(line) for line in daemon_log.read_text().splitlines() if line.startswith("{")]
    commit = [line for line in lines if line["event"] == "checkpoint.committed" and line["name"] == final][-1]
    return (
        f"notice seen -> trainer signalled {(signalled - detected).total_seconds() * 1000:.0f} ms; last byte written -> committed "
        f"{commit['since_last_write_seconds'] * 1000:.0f} ms ({final}, {commit['size_bytes'] / 1e6:.1f} MB)\n"
    )


def _moments(status: dict[str, Any]) -> tuple[str, str]:
    return status["interruption"]["detected_at"], status["trainer"]["signalled_at"]


def _newest_on_disk(output: Path) -> str:
    return max(output.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2])).name


def _same_tree(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return filecmp.cmpfiles(one, other, names, shallow=False)[1:] == ([], [])


def _resume(machine: CommandMachine, hf_python: str, *options: object) -> TrainingProcess:
    script = (hf_python, TRAIN_TINY, "--output", machine.output, "--steps", STEPS, "--resume", "{checkpoint}", *options)
    resume = (sys.executable, "-m", "spotguard", "resume", "-c", machine.config_file, "--", *script)
    return machine.start(*map(str, resume), output="resume.log")


def _goes_on_as_if_nothing_had_happened(
    folder: Path, url: str, endpoint: str, hf_python: str, *, final: Path, expected: Ending, options: tuple[object, ...]
) -> None:
    """On another machine: the restored bytes are the trainer's, and the training ends like the one that was left alone."""
    with CommandMachine(folder / "b", url=url, endpoint_url=endpoint) as machine:
        restored = machine.spotguard("restore", "--to", folder / "restored")
        assert restored.returncode == 0, restored.stderr
        assert _same_tree(final, folder / "restored" / final.name)
        training = _resume(machine, hf_python, *options)
        assert training.wait(120) == 0, "".join(training.lines()[-20:])
        assert any(line.startswith(f"resuming {final.name} ") for line in training.lines())
        assert f"checkpoint-{training.told('started')[0]['step']}" == final.name
        assert ending_of(training.lines()) == expected


def test_an_interrupted_run_goes_on_from_its_final_save(
    tmp_path: Path,
    hf_python: str,
    bucket: EmbeddedS3,
    metadata: MetadataProcess,
    uninterrupted: dict[int, Ending],
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, folder = "s3://hf-runs/limit-3", tmp_path / "a"
    with CommandMachine(folder, url=url, endpoint_url=bucket.url, settings=_settings(folder, metadata)) as machine:
        daemon = machine.daemon()
        training = start_training(machine, hf_python, "--save-steps", 5, "--save-total-limit", 3, "--step-seconds", 0.2)
        wait_for("the commit of checkpoint-10", lambda: "checkpoint-10" in _committed(daemon) or None)
        metadata.interrupt(NOTICE_SECONDS)
        assert training.wait(30) == 0, "".join(training.lines()[-20:])
        final = _newest_on_disk(machine.output)
        status = wait_for(f"the verdict after {final}", lambda: _verdict_after(daemon, final), timeout=NOTICE_SECONDS)
        assert training.last_step() < STEPS, "the run came to its end before the notice could interrupt it"
        assert status["interruption"]["verdict"] == "safe"
        assert status["interruption"]["last_committed"] == final
        _until_recorded(bucket, "limit-3")
        daemon.kill()
        with capsys.disabled():
            sys.stdout.write(f"\n[hf] {_figures(status, folder / 'daemon.log', final)}")
    _goes_on_as_if_nothing_had_happened(
        tmp_path, url, bucket.url, hf_python, final=machine.output / final, expected=uninterrupted[64], options=("--save-steps", 5)
    )


def test_rotation_may_take_away_what_a_slow_link_is_still_sending(
    tmp_path: Path,
    hf_python: str,
    bucket: EmbeddedS3,
    metadata: MetadataProcess,
    uninterrupted: dict[int, Ending],
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, folder = "s3://hf-runs/limit-1", tmp_path / "a"
    sent_without_a_name: set[str] = set()
    with (
        SlowLink(bucket.url, bytes_per_second=6e6) as link,
        CommandMachine(folder, url=url, endpoint_url=link.url, settings=_settings(folder, metadata)) as machine,
    ):
        daemon = machine.daemon()
        options = ("--save-steps", 4, "--save-total-limit", 1, "--step-seconds", 0.2, "--width", 256)
        training = start_training(machine, hf_python, *options)

        def a_rotated_one_is_committed() -> bool | None:
            for entry in daemon.status()["checkpoints"]:
                if entry["state"] == "uploading" and not (machine.output / entry["name"]).exists():
                    sent_without_a_name.add(entry["name"])
            return bool(sent_without_a_name & set(_committed(daemon))) or None

        wait_for("the commit of a checkpoint that the trainer deleted meanwhile", a_rotated_one_is_committed)
        metadata.interrupt(NOTICE_SECONDS)
        assert training.wait(30) == 0, "".join(training.lines()[-20:])
        final = _newest_on_disk(machine.output)
        status = wait_for(f"the verdict after {final}", lambda: _verdict_after(daemon, final), timeout=NOTICE_SECONDS)
        assert training.last_step() < STEPS, "the run came to its end before the notice could interrupt it"
        assert status["interruption"]["verdict"] == "safe"
        assert status["interruption"]["last_committed"] == final
        _until_recorded(bucket, "limit-1")
        daemon.kill()
        with capsys.disabled():
            sys.stdout.write(
                f"\n[hf, slow link] sent after deletion: {sorted(sent_without_a_name)}; {_figures(status, folder / 'daemon.log', final)}"
            )
    options = ("--save-steps", 1000, "--width", 256)
    _goes_on_as_if_nothing_had_happened(
        tmp_path, url, bucket.url, hf_python, final=machine.output / final, expected=uninterrupted[256], options=options
    )
