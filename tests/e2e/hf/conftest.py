"""Where the real Hugging Face Trainer is: an environment of its own, named by SPOTGUARD_HF_PYTHON (`.ci/run` makes it)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.demo.embedded_s3 import EmbeddedS3
from spotguard.demo.metadata_process import MetadataProcess
from tests.e2e.hf.training_run import STEPS, TRAIN_TINY, Ending, ending_of


@pytest.fixture(scope="session")
def hf_python() -> str:
    path = os.environ.get("SPOTGUARD_HF_PYTHON", "")
    if not path or not Path(path).exists():
        pytest.skip("the Hugging Face Trainer is missing: SPOTGUARD_HF_PYTHON must name a Python with torch and transformers")
    return path


@pytest.fixture(scope="session")
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3("hf-runs") as server:
        yield server


@pytest.fixture
def metadata() -> Iterator[MetadataProcess]:
    with MetadataProcess() as service:
        yield service


@pytest.fixture(scope="session")
def uninterrupted(hf_python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Ending]:
    """How a run ends that nobody disturbs, by the width of the model."""
    endings = {}
    for width in (64, 256):
        output = tmp_path_factory.mktemp("uninterrupted") / "out"
        command = [
            hf_python,
            str(TRAIN_TINY),
            "--output",
            str(output),
            "--steps",
            str(STEPS),
            "--width",
            str(width),
            "--save-steps",
            "1000",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        endings[width] = ending_of(done.stdout.splitlines())
    return endings
