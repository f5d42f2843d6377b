from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def plain_aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Static credentials, and nothing else that AWS's libraries would find."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's proxies are, the servers of the tests are asked directly."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
