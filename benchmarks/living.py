"""What the daemon costs when nothing happens, and how fast it is when something does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks import datasets
from benchmarks.endpoint import BUCKET, Endpoint, serving
from benchmarks.guarding import guarding
from benchmarks.measuring import cpu_seconds_fine, resident_mib, stop
from benchmarks.share import TRAININGS, training_loops
from benchmarks.transfer import Record, Workshop
from spotguard.demo.embedded_s3 import EmbeddedS3

IDLE_SECONDS = 30.0
_BUSY_BYTES = 1 << 30
_TRAINER = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"%d\\n" % time.monotonic_ns()))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def idle(shop: Workshop, record: Record) -> None:
    """A daemon that polls a metadata service and serves its status, after its first commit."""
    with serving(shop.sink) as endpoint, _Metadata() as metadata:
        settings = (f"imds.endpoint={metadata.url}", "imds.mode=required", f"http.listen=unix:{shop.scratch / 'socket'}")
        with guarding(endpoint, shop.scratch / "watched", *settings) as daemon:
            time.sleep(5)
            for _ in range(min(shop.rounds, 2)):
                endpoint.reset()
                before = cpu_seconds_fine(daemon.pid)
                time.sleep(IDLE_SECONDS)
                used = cpu_seconds_fine(daemon.pid) - before
                asked = endpoint.stats()["requests"] - 1
                per_minute = asked * 60 / IDLE_SECONDS
                record(
                    "spotguard", {"cpu_percent": used / IDLE_SECONDS * 100, "rss_mib": resident_mib(daemon.pid), "per_minute": per_minute}
                )


def commit(shop: Workshop, record: Record) -> None:
    """From the marker's last byte to the manifest in the bucket, for a checkpoint of which next to nothing has to be sent."""
    with serving(shop.sink) as endpoint, guarding(endpoint, shop.scratch / "watched") as daemon:
        for step in range(2, 2 + 2 * shop.rounds):
            name = f"checkpoint-{step}"
            datasets.tiny(shop.scratch / "staged", step)
            (shop.scratch / "staged" / datasets.MARKER).unlink()
            (shop.scratch / "staged").rename(daemon.watched / name)
            time.sleep(1.0)
            seconds = daemon.commits(name, partial(datasets.mark, daemon.watched / name, step))
            record("spotguard", {"ms": seconds * 1000})


def notice(shop: Workshop, record: Record) -> None:
    """From the metadata service's answer to the signal's arrival in the trainer: with nothing else to do, and beside an upload under a cap
    of 1 Gbit/s and loops that keep all cores busy."""
    for _ in range(shop.rounds):
        with ExitStack() as alone:
            record("at rest", {"ms": _signalled_after(shop, alone, busy=False)})
        with ExitStack() as beside:
            record("all cores busy, an upload under way", {"ms": _signalled_after(shop, beside, busy=True)})


def _signalled_after(shop: Workshop, stack: ExitStack, *, busy: bool) -> float:
    """Milliseconds."""
    trainer = stack.enter_context(subprocess.Popen([sys.executable, "-c", _TRAINER], stdout=subprocess.PIPE))
    stack.callback(stop, trainer, signal.SIGKILL)
    endpoint, metadata = stack.enter_context(serving(shop.sink)), stack.enter_context(_Metadata())
    assert trainer.stdout is not None
    trainer.stdout.readline()
    pid_file, watched = shop.scratch / "trainer.pid", shop.scratch / "watched"
    pid_file.write_text(str(trainer.pid))
    stack.callback(shutil.rmtree, watched)
    told = (f"imds.endpoint={metadata.url}", "imds.mode=required", "imds.poll_seconds=1", "upload.max_megabits_per_second=1000")
    daemon = stack.enter_context(guarding(endpoint, watched, *told, f"trainer.pid_file={pid_file}", "trainer.signal=SIGUSR1"))
    if busy:
        datasets.large(shop.scratch / "staged", 100, _BUSY_BYTES)
        stack.enter_context(training_loops(shop, TRAININGS[0]))
        (shop.scratch / "staged").rename(watched / "checkpoint-100")
    time.sleep(2.5)
    metadata.interrupts = True
    arrived = int(trainer.stdout.readline())
    if busy and daemon.is_committed("checkpoint-100"):
        raise RuntimeError("the upload had ended before the notice")
    os.kill(daemon.pid, signal.SIGKILL)
    return (arrived - metadata.told_ns) / 1e6


def unchanged(shop: Workshop, record: Record) -> None:
    """A checkpoint of which 95 % of the bytes are files equal to the previous one's, against moto: s3sink keeps neither sums nor times."""
    for _ in range(min(shop.rounds, 3)):
        with EmbeddedS3(BUCKET) as store:
            endpoint = Endpoint(int(store.url.rpartition(":")[2]), None)
            with guarding(endpoint, shop.scratch / "watched", warm=False) as daemon:
                first, second = shop.scratch / "first", shop.scratch / "second"
                datasets.shards(first, 100)
                shutil.copytree(first, second)
                datasets.write(second / "shard-00.dat", datasets.SHARD_BYTES)
                datasets.mark(second, 200)
                daemon.uploads(first, "checkpoint-100", back=False)
                time.sleep(1.0)
                measured = daemon.uploads(second, "checkpoint-200", back=False)
                time.sleep(0.5)
                told = next(json.loads(line) for line in daemon.said if "checkpoint.committed" in line and "checkpoint-200" in line)
        record("spotguard", {"percent": 100 * told["sent_bytes"] / measured.size})
        shutil.rmtree(shop.scratch / "watched")


class _Metadata:
    """As much of the instance metadata service as is needed, and when it told of the end."""

    def __init__(self) -> None:
        self.interrupts = False
        self.told_ns = 0
        owner = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self._say(200, "token", {"X-aws-ec2-metadata-token-ttl-seconds": "21600"})

            def do_GET(self) -> None:
                if self.path.endswith("/spot/instance-action") and owner.interrupts:
                    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))
                    self._say(200, f'{{"action": "terminate", "time": "{at}"}}')
                    owner.told_ns = owner.told_ns or time.monotonic_ns()
                elif self.path.endswith("/instance-id"):
                    self._say(200, "i-0123456789abcdef0")
                else:
                    self._say(404, "")

            def _say(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(text)), "Content-Type": "text/plain"}.items():
                    self.send_header(name, value)
                with suppress(OSError):  # a daemon that was killed has no ear left
                    self.end_headers()
                    self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> _Metadata:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
