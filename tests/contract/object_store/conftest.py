from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from spotguard.adapters.s3.connection import Connection, S3Settings, connect
from tests.contract.object_store.benches import CEPH, LOCALSTACK, MEMORY, MOTO, Bench, Quirks
from tests.support.bulk_over import BulkOver
from tests.support.memory_copies import MemoryCopies
from tests.support.memory_store import MemoryBucket, MemoryBulk, MemoryStore, MemoryTransfer
from tests.support.servers import Endpoint, ceph, localstack, moto


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[Endpoint]:
    with moto.running() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def ceph_endpoint() -> Iterator[Endpoint]:
    if reason := ceph.missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="sg") as folder, ceph.running(Path(folder) / "c") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def localstack_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    if reason := localstack.missing():
        pytest.skip(reason)
    with localstack.running(tmp_path_factory.mktemp("localstack")) as endpoint:
        yield endpoint


def make_bucket(endpoint: Endpoint) -> S3Settings:
    """A new empty bucket."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
    )
    client.create_bucket(Bucket=name)
    client.close()
    return S3Settings(name, endpoint_url=endpoint.url)


_SERVERS = {"moto": MOTO, "ceph": CEPH, "localstack": LOCALSTACK}
_REAL = [
    pytest.param("moto"),
    pytest.param("ceph", marks=pytest.mark.needs_ceph),
    pytest.param("localstack", marks=pytest.mark.needs_localstack),
]


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that every server here takes, and no way to anything else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in Endpoint("").environment().items():
        monkeypatch.setenv(name, value)


def _bench(connection: Connection, quirks: Quirks, settings: S3Settings) -> Bench:
    return Bench(connection.store, connection.transfer, connection.stored, connection.bulk, connection.bulk_send, quirks, settings)


@pytest.fixture(params=_REAL)
async def server(request: pytest.FixtureRequest, aws_environment: None) -> AsyncIterator[Bench]:
    """A bucket of a real server."""
    settings = make_bucket(request.getfixturevalue(f"{request.param}_endpoint"))
    async with connect(settings) as connection:
        yield _bench(connection, _SERVERS[request.param], settings)


@pytest.fixture(params=["memory", *_REAL])
async def bench(request: pytest.FixtureRequest, aws_environment: None) -> AsyncIterator[Bench]:
    """A bucket of the fake or of a real server."""
    if request.param == "memory":
        bucket = MemoryBucket()
        transfer = MemoryTransfer(bucket)
        yield Bench(MemoryStore(bucket), transfer, MemoryCopies(bucket), MemoryBulk(bucket), BulkOver(transfer), MEMORY, None)
        return
    settings = make_bucket(request.getfixturevalue(f"{request.param}_endpoint"))
    async with connect(settings) as connection:
        yield _bench(connection, _SERVERS[request.param], settings)
