"""Credentials that can not be used are told as such, whatever botocore makes of them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.errors import Subject
from spotguard.adapters.s3.settings import S3Settings
from spotguard.adapters.s3.store_wire import StoreWire
from spotguard.ports.object_store import StoreDenied

OLD = '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "t", "Expiration": "2020-01-01T00:00:00Z"}'


async def perform(wire: StoreWire, subject: Subject) -> None:
    await wire.ready(subject)
    await wire.perform("GET", "/bucket/k", {"host": "h"}, subject, 5)


@pytest.mark.parametrize("printed", [OLD, "no JSON", "{}", None], ids=["expired", "no-json", "incomplete", "missing-program"])
@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_a_credential_process_that_fails_is_a_denial_and_not_a_crash(
    printed: str | None, operation: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    if printed is not None:
        program.write_text(f"#!/bin/sh\necho '{printed}'\n")
        program.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    access = S3Access(S3Settings("bucket", endpoint_url="http://127.0.0.1:9"))

    async def story() -> None:
        subject = access.subject("read", "k")
        wire = StoreWire(access, 1.0)
        try:
            with pytest.raises(StoreDenied, match="no usable AWS credentials"):
                await access.call(operation, subject, {"Key": "k"}, proof="ETag", max_body=100)
            with pytest.raises(StoreDenied, match="no usable AWS credentials"):
                await perform(wire, subject)
        finally:
            await wire.close()
            access.close()

    asyncio.run(story())
