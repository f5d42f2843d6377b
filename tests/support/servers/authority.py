"""A proxy in front of an S3 server that does what IAM does: it refuses the requests that its rule does not allow.

Which action a request needs is written down here once more, from the service authorization reference and apart from the code under
test. Path style only.
"""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.servers import Endpoint

_OF_BUCKET = {
    "versioning": "BucketVersioning",
    "encryption": "EncryptionConfiguration",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "policy": "BucketPolicy",
    "lifecycle": "LifecycleConfiguration",
}


class Need(NamedTuple):
    """One permission that a request needs."""

    action: str
    bucket: str
    key: str = ""
    prefix: str | None = None
    """Of a listing; None where the request names none."""


def needs(method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> list[Need]:
    url = urlsplit(target)
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    query = parse_qs(url.query, keep_blank_values=True)
    if key:
        found = [Need(f"s3:{_on_object(method, query)}", bucket, key)]
        if source := (headers or {}).get("x-amz-copy-source"):
            found.append(Need("s3:GetObject", bucket, unquote(source).lstrip("/").partition("/")[2]))
        return found
    if "delete" in query:
        return [Need("s3:DeleteObject", bucket, key) for key in re.findall(r"<Key>([^<]*)</Key>", body.decode())]
    for name, action in _OF_BUCKET.items():
        if name in query:
            return [Need(f"s3:{'Get' if method == 'GET' else 'Put'}{action}", bucket)]
    if method == "PUT":
        return [Need("s3:CreateBucket", bucket)]
    if "uploads" in query:
        return [Need("s3:ListBucketMultipartUploads", bucket)]
    return [Need("s3:ListBucket", bucket, prefix=query.get("prefix", [None])[0])]


def _on_object(method: str, query: Mapping[str, Any]) -> str:
    if "uploadId" in query and method in ("GET", "DELETE"):
        return "ListMultipartUploadParts" if method == "GET" else "AbortMultipartUpload"
    return {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}[method]


def allowed_by(policy: Mapping[str, Any]) -> Callable[[Need], bool]:
    """As IAM would judge: the statements of an identity's policy, `StringLike` on `s3:prefix` the only condition."""

    def judge(need: Need) -> bool:
        resource = f"arn:aws:s3:::{need.bucket}" + (f"/{need.key}" if need.key else "")
        return any(_grants(statement, need, resource) for statement in policy["Statement"])

    return judge


def _grants(statement: Mapping[str, Any], need: Need, resource: str) -> bool:
    if need.action not in statement["Action"] or not fnmatch.fnmatchcase(resource, statement["Resource"]):
        return False
    patterns = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
    return patterns is None or (need.prefix is not None and any(fnmatch.fnmatchcase(need.prefix, pattern) for pattern in patterns))


@dataclass
class Authority:
    """`allows` may be replaced at any time."""

    endpoint: Endpoint
    allows: Callable[[Need], bool]
    asked: list[Need] = field(default_factory=list)
    refused: list[Need] = field(default_factory=list)
    rewrite: Callable[[int, dict[str, str]], dict[str, str]] = lambda status, headers: headers
    """What becomes of the headers of an answer."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def deny(self, *actions: str) -> None:
        self.allows = lambda need: need.action not in actions

    def judge(self, wanted: list[Need]) -> Need | None:
        """The first need that is not allowed."""
        with self.lock:
            self.asked += wanted
            refused = next((need for need in wanted if not self.allows(need)), None)
            if refused:
                self.refused.append(refused)
            return refused


@contextmanager
def running(upstream: Endpoint) -> Iterator[Authority]:
    """An endpoint that allows everything at first."""
    authority = Authority(upstream, lambda need: True)
    host = urlsplit(upstream.url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self) -> None:
            body = self._body()
            headers = {name.lower(): value for name, value in self.headers.items()}
            wanted = needs(self.command, self.path, body, headers)
            if refused := authority.judge(wanted):
                self._send(403, {"Content-Type": "application/xml"}, access_denied(refused))
                return
            status, answered, content = self._forward(body)
            if status == 404 and wanted[0].action == "s3:GetObject" and self._may_not_list(wanted[0]):
                status, content = 403, access_denied(wanted[0])
            self._send(status, authority.rewrite(status, answered), content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def _may_not_list(self, need: Need) -> bool:
            """S3 takes the key for the prefix when it decides whether to tell that something is missing."""
            return not authority.allows(Need("s3:ListBucket", need.bucket, prefix=need.key))

        def _body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                content = bytearray()
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return bytes(content)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            skipped = ("transfer-encoding", "connection", "content-length", "expect")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
            connection = HTTPConnection(host, timeout=20)
            try:
                connection.request(self.command, self.path, body=body, headers=headers | {"Content-Length": str(len(body))})
                answer = connection.getresponse()
                content = answer.read()
                kept = {n: v for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "connection")}
                return answer.status, kept, content
            finally:
                connection.close()

        def _send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            elif "content-length" not in {name.lower() for name in headers}:
                self.send_header("Content-Length", "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        authority.endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}", upstream.access_key, upstream.secret_key)
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def access_denied(need: Need) -> bytes:
    return denial(need.action, f"arn:aws:s3:::{need.bucket}" + (f"/{need.key}" if need.key else ""))


def denial(action: str, resource: str) -> bytes:
    """The body of AWS's refusal."""
    return (
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::123456789012:assumed-role/r/i"
        f" is not authorized to perform: {action} on resource: {resource}</Message></Error>"
    ).encode()
