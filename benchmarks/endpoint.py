"""The S3 endpoint of every measurement: s3sink on loopback, which costs next to nothing, so that a transfer measures its client."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import unescape

HERE = Path(__file__).parent
BUCKET = "bench"
_ENTRY = re.compile(r"<Key>([^<]*)</Key>.*?<Size>(\d+)</Size>")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running s3sink."""

    port: int
    certificate: Path | None
    pid: int = 0

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
        counted: dict[str, int] = json.loads(self._get("/__stats"))
        return counted

    def reset(self) -> None:
        self._get("/__reset")

    def keys(self, prefix: str, connection: http.client.HTTPConnection | None = None) -> list[str]:
        """The first 1,000 keys under a prefix."""
        return [key for key, _ in self._page(prefix, "", connection)]

    def stored_bytes(self, prefix: str) -> int:
        """The sizes of all objects under a prefix, as the endpoint counted them."""
        total, last = 0, ""
        while page := self._page(prefix, last, None):
            total, last = total + sum(size for _, size in page), page[-1][0]
        return total

    def _page(self, prefix: str, after: str, connection: http.client.HTTPConnection | None) -> list[tuple[str, int]]:
        query = f"list-type=2&prefix={quote(prefix, safe='')}&start-after={quote(after, safe='')}"
        body = self._get(f"/{BUCKET}?{query}", connection).decode()
        return [(unescape(key), int(size)) for key, size in _ENTRY.findall(body)]

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


@dataclass(frozen=True, slots=True)
class Programs:
    """What is compiled for a measurement."""

    sink: Path
    spend: Path


def build(into: Path) -> Programs:
    """Compile s3sink and spend; needs a C compiler and OpenSSL's headers."""
    programs = Programs(into / "s3sink", into / "spend")
    for program in (programs.sink, programs.spend):
        libraries = ["-lssl", "-lcrypto"] if program == programs.sink else []
        subprocess.run(["cc", "-O2", "-pthread", "-o", str(program), str(HERE / f"{program.name}.c"), *libraries], check=True)
    return programs


def make_certificate(into: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    certificate, key = into / "certificate.pem", into / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


@contextmanager
def serving(program: Path, *, keeps_in: Path | None = None, tls: tuple[Path, Path] | None = None) -> Iterator[Endpoint]:
    """A fresh, empty endpoint. `keeps_in`: the folder where bodies are kept, so that they can be read back."""
    port = _free_port()
    arguments = [str(program), str(port), str(keeps_in or "-"), *map(str, tls or ())]
    with subprocess.Popen(arguments) as process:
        endpoint = Endpoint(port, tls[0] if tls else None, process.pid)
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
