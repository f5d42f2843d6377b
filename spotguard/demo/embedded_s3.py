"""An S3 server on loopback for the demo and the tests: moto, in a process of its own so that it outlives every "machine".

The child ends when its standard input closes, which also happens when the parent is killed.
"""

from __future__ import annotations

import http.client
import importlib.util
import sys
from pathlib import Path
from typing import Self

from spotguard.demo.server_process import ServerProcess

_START_SECONDS = 30.0


class MotoMissing(Exception):
    """The extra that brings the embedded S3 is not installed. `pip install 'spotguard[demo]'` does."""

    def __init__(self) -> None:
        super().__init__("the embedded S3 server is moto, which is not installed")


class EmbeddedS3(ServerProcess):
    """Starts on `with`, with the bucket in it; gone with all its objects at the end of it."""

    def __init__(self, bucket: str, *, log: Path | None = None) -> None:
        super().__init__([sys.executable, "-m", "spotguard.demo.embedded_s3", bucket], log=log)

    def __enter__(self) -> Self:
        """Raises MotoMissing, RuntimeError when the server does not come up."""
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            raise MotoMissing
        return super().__enter__()


def environment() -> dict[str, str]:
    """What makes boto3 talk to the embedded server and to nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _create_bucket(host: str, port: int, bucket: str) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=_START_SECONDS)
    try:
        connection.request("PUT", f"/{bucket}")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"cannot create bucket {bucket}: HTTP {answer.status}")
    finally:
        connection.close()


def _serve(bucket: str) -> None:
    import logging
    import os

    os.environ.update(environment())
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    _create_bucket(host, port, bucket)
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    _serve(sys.argv[1])
