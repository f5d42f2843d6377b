"""LocalStack's S3 (4.9.2, Apache-2.0) in an environment of its own: has AWS's checksum and condition rules.

`install.sh` beside this file makes the environment; `SPOTGUARD_LOCALSTACK_PYTHON` names its interpreter. Everything that would
talk to the outside is switched off, and what were left would find a dead proxy and a resolver that knows nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import Endpoint, free_port, spawn, stop, wait_until_listening

_REPOSITORY = Path(__file__).parents[3]


def interpreter() -> Path | None:
    """The Python that has LocalStack, or None where there is none."""
    named = os.environ.get("SPOTGUARD_LOCALSTACK_PYTHON")
    environments = os.environ.get("SPOTGUARD_CI_ENV", str(_REPOSITORY / ".ci-env"))
    found = Path(named) if named else Path(environments) / "localstack" / "bin" / "python"
    return found if found.exists() else None


def missing() -> str | None:
    return None if interpreter() else "LocalStack is not installed: tests/support/servers/install.sh, or set SPOTGUARD_LOCALSTACK_PYTHON"


@contextmanager
def running(folder: Path) -> Iterator[Endpoint]:
    python = interpreter()
    assert python is not None
    port = free_port()
    log = folder / "localstack.log"
    server = spawn([str(python), "-m", "localstack.runtime.main"], log, _environment(folder, port))
    try:
        wait_until_listening(port, server, log, 45)
        yield Endpoint(f"http://127.0.0.1:{port}")
    finally:
        stop(server)


def _environment(folder: Path, port: int) -> dict[str, str]:
    dead = "http://127.0.0.1:9"
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "SERVICES": "s3",
        "EAGER_SERVICE_LOADING": "1",
        "STRICT_SERVICE_LOADING": "1",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SERVER": "hypercorn",  # the other one, twisted, listens on every address
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "SKIP_INFRA_DOWNLOADS": "1",
        "DISABLE_CORS_CHECKS": "1",
        "DNS_ADDRESS": "0",
        "DNS_SERVER": "127.0.0.1",
        "LOCALSTACK_VOLUME_DIR": str(folder),
        "VAR_LIBS_DIR": str(folder),
        "FILESYSTEM_ROOT": str(folder),
        "LS_LOG": "warning",
        "http_proxy": dead,
        "https_proxy": dead,
        "HTTP_PROXY": dead,
        "HTTPS_PROXY": dead,
        "NO_PROXY": "127.0.0.1,localhost",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
