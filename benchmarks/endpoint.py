"""The S3 endpoint of every measurement: s3sink on loopback, which costs next to nothing, so that a transfer measures its client."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).parent
BUCKET = "bench"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running s3sink."""

    port: int
    certificate: Path | None

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        if self.certificate is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        context = ssl.create_default_context(cafile=str(self.certificate))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    def stats(self) -> dict[str, int]:
        """Requests by kind, bytes and connections since the last `reset`."""
        return json.loads(self._get("/__stats"))

    def reset(self) -> None:
        self._get("/__reset")

    def keys(self, prefix: str, connection: http.client.HTTPConnection | None = None) -> list[str]:
        """The first 1,000 keys under a prefix."""
        body = self._get(f"/{BUCKET}?list-type=2&prefix={quote(prefix, safe='')}", connection).decode()
        return [piece.split("</Key>")[0] for piece in body.split("<Key>")[1:]]

    def environment(self) -> dict[str, str]:
        """What every S3 client needs to come here, and nowhere else."""
        names = {
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
        }
        names |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        if self.certificate is not None:
            names |= {"AWS_CA_BUNDLE": str(self.certificate), "SSL_CERT_FILE": str(self.certificate)}
        return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTGUARD_"))} | names

    def _get(self, path: str, connection: http.client.HTTPConnection | None = None) -> bytes:
        own = connection or self.connect()
        try:
            own.request("GET", path)
            return own.getresponse().read()
        finally:
            if connection is None:
                own.close()


def build(into: Path) -> Path:
    """Compile s3sink; returns the program."""
    program, source = into / "s3sink", HERE / "s3sink.c"
    subprocess.run(["cc", "-O2", "-pthread", "-o", program, source, "-lssl", "-lcrypto"], check=True)
    return program


def make_certificate(into: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    certificate, key = into / "certificate.pem", into / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


@contextmanager
def serving(program: Path, *, keeps_in: Path | None = None, tls: tuple[Path, Path] | None = None) -> Iterator[Endpoint]:
    """A fresh, empty endpoint. `keeps_in`: the folder where bodies are kept, so that they can be read back."""
    port = _free_port()
    arguments = [program, str(port), str(keeps_in or "-"), *(tls or ())]
    with subprocess.Popen(arguments) as process:
        endpoint = Endpoint(port, tls[0] if tls else None)
        try:
            _await(endpoint)
            yield endpoint
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(endpoint: Endpoint) -> None:
    for _ in range(200):
        try:
            endpoint.stats()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("s3sink does not answer")
