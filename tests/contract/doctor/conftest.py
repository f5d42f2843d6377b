from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from spotguard.assembly.doctor import throughput
from spotguard.assembly.doctor.examination import CHECKS
from spotguard.cli.main import cli
from tests.contract.object_store.conftest import (  # noqa: F401 - fixtures
    aws_environment,
    ceph_endpoint,
    localstack_endpoint,
    moto_endpoint,
)
from tests.e2e.world import s3_client
from tests.support.real_processes import RealProcesses, real_processes
from tests.support.servers import Endpoint, authority


@dataclass(frozen=True)
class Visit:
    """One visit to the doctor."""

    status: int
    findings: list[dict[str, str]]

    def of(self, check: str) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["check"] == check]

    def one(self, check: str) -> dict[str, str]:
        [finding] = self.of(check)
        return finding

    @property
    def errors(self) -> list[dict[str, str]]:
        return [finding for finding in self.findings if finding["verdict"] == "error"]


Doctor = Callable[..., Visit]


@pytest.fixture
def bucket(moto_endpoint: Endpoint) -> str:  # noqa: F811 - the fixture
    name = f"doctor-{uuid.uuid4().hex[:12]}"
    client = s3_client(moto_endpoint.url)
    client.create_bucket(Bucket=name)
    client.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]},
    )
    return name


@pytest.fixture
def doctor(
    moto_endpoint: Endpoint,  # noqa: F811 - the fixtures
    bucket: str,
    tmp_path: Path,
    aws_environment: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Doctor:
    """Visits for some checks only, or for all but the throughput."""
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(throughput, "_SECONDS", 0.1)

    def visit(*only: str, endpoint: Endpoint = moto_endpoint, url: str = f"s3://{bucket}/run1", **settings: Any) -> Visit:
        given = {"destination__endpoint_url": endpoint.url, "http__listen": "null", "imds__mode": "off"} | settings
        skipped = [name for name in CHECKS if (name not in only if only else name == "throughput")]
        options = ["--dir", str(tmp_path / "out"), "--url", url, "--json", *(word for name in skipped for word in ("--skip", name))]
        options += [word for key, value in given.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]
        result = CliRunner().invoke(cli, ["doctor", *options])
        structlog.reset_defaults()
        assert result.exit_code in (0, 1), result.stderr
        answered = json.loads(result.stdout)
        assert answered["healthy"] == (result.exit_code == 0)
        return Visit(int(result.exit_code), answered["checks"])

    return visit


@pytest.fixture
def guarded(moto_endpoint: Endpoint) -> Iterator[authority.Authority]:  # noqa: F811 - the fixture
    with authority.running(moto_endpoint) as running:
        yield running


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[RealProcesses]:
    with real_processes(tmp_path) as running:
        yield running
