"""Many files, many checkpoints, many loose files."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path

from benchmarks import datasets
from benchmarks.endpoint import BUCKET, Endpoint, serving
from benchmarks.guarding import RUN, SPOTGUARD, Daemon, guarding
from benchmarks.measuring import cpu_seconds_fine, peak_mib, resident_mib
from benchmarks.pulse import Pulse
from benchmarks.transfer import Record, Workshop
from spotguard.adapters.disk.volume import LocalVolume
from spotguard.core.loose import LooseFile, encode_index

_CHECKPOINTS = 1000
_LOOSE = (10_000, 100_000)
_REST_SECONDS = 30.0
_CHANGES = 15


def files(shop: Workshop, record: Record) -> None:
    """Checkpoints of 1,250 to 10,000 files of 10 kB: what each thousand of them costs."""
    for _ in range(min(shop.rounds, 2)):
        for count in (1250, 2500, 5000, 10_000):
            staged = shop.scratch / f"files-{count}"
            datasets.many(staged, 100, count, 10_000)
            with serving(shop.sink) as endpoint, guarding(endpoint, shop.scratch / "watched") as daemon:
                endpoint.reset()
                measured = daemon.uploads(staged, "checkpoint-100", back=False)
                asked = endpoint.stats()["puts"] + endpoint.stats()["lists"]
            shutil.rmtree(shop.scratch / "watched")
            seconds = measured.seconds * 1000 / count
            record(f"{count} files", {"seconds_per_1000": seconds, "peak_mib": measured.peak_mib, "writes": asked})


def checkpoints(shop: Workshop, record: Record) -> None:
    """A run with 1,000 committed checkpoints: a restore of the newest, and a daemon that starts."""
    with serving(shop.sink, keeps_in=shop.scratch / "bucket") as endpoint:
        _commit_many(shop, endpoint)
        for _ in range(shop.rounds):
            endpoint.reset()
            into = shop.scratch / "restored"
            values = [f"destination.endpoint_url={endpoint.url}", "imds.mode=off"]
            sets = [word for value in values for word in ("--set", value)]
            command = [SPOTGUARD, "restore", "--url", f"s3://{BUCKET}/{RUN}", "--to", str(into), *sets]
            measured = shop.run(command, 1, endpoint)
            asked = endpoint.stats()
            if not (into / f"checkpoint-{_CHECKPOINTS}").exists():
                raise RuntimeError("the newest was not restored")
            shutil.rmtree(into)
            record(
                "restore of the newest",
                {"manifest_requests": asked["manifests"], "seconds": measured.seconds, "peak_mib": measured.peak_mib},
            )
            endpoint.reset()
            began = time.monotonic()
            with guarding(endpoint, shop.scratch / "watched", warm=False) as daemon:
                seconds = time.monotonic() - began
                time.sleep(3)
                asked = endpoint.stats()
                record(
                    "start of a daemon", {"manifest_requests": asked["manifests"], "seconds": seconds, "peak_mib": resident_mib(daemon.pid)}
                )


def loose(shop: Workshop, record: Record) -> None:
    """Loose files, all of them sent once; then nothing happens any more. And a tenth as many: does it grow in proportion?"""
    for count in _LOOSE:
        watched = shop.scratch / "watched"
        paths = [f"{number // 1000:03}-logs/{number:06}.txt" for number in range(count)]
        for path in paths:
            datasets.write(watched / path, 100)
        whole_index = len(encode_index(LooseFile(path, path, 100, "AAAAAAAAAAA=", 0o644, time.time_ns()) for path in paths))
        listens = shop.scratch / "socket"
        with serving(shop.sink) as endpoint, guarding(endpoint, watched, f"http.listen=unix:{listens}", warm=False) as daemon:
            with Pulse(listens) as pulse:
                figures = {"first_pass_seconds": _first_pass(daemon, count, whole_index), "peak_mib": peak_mib(daemon.pid)}
                figures["longest_wait_ms"] = pulse.longest_ms()
                figures["longest_wait_changing_ms"] = _while_one_changes(watched / paths[0], pulse)
            record(f"{count} files", {**figures, **_at_rest(daemon), "scan_ms": 1000 * asyncio.run(_scan_seconds(watched))})
        shutil.rmtree(watched)


def _first_pass(daemon: Daemon, count: int, whole_index: int) -> float:
    """Seconds until the index in the bucket names all of them."""
    began = time.monotonic()
    while daemon.endpoint.stored_bytes(f"{RUN}/.spotguard/loose.json") < whole_index:
        if time.monotonic() - began > 250:
            raise RuntimeError("the loose files were not sent in time")
        time.sleep(0.5)
    seconds = time.monotonic() - began
    sent = daemon.endpoint.stats()["body_bytes"]
    if sent < count * 100:
        raise RuntimeError(f"only {sent} bytes were sent")
    return seconds


def _while_one_changes(path: Path, pulse: Pulse) -> float:
    """The longest wait, in ms, while the file is written every second."""
    pulse.longest_ms()
    for _ in range(_CHANGES):
        datasets.write(path, 100)
        time.sleep(1.0)
    return pulse.longest_ms()


def _at_rest(daemon: Daemon) -> dict[str, float]:
    time.sleep(5)
    daemon.endpoint.reset()
    before = cpu_seconds_fine(daemon.pid)
    time.sleep(_REST_SECONDS)
    return {
        "idle_cpu_percent": (cpu_seconds_fine(daemon.pid) - before) / _REST_SECONDS * 100,
        "idle_rss_mib": resident_mib(daemon.pid),
        "idle_requests_per_minute": (daemon.endpoint.stats()["requests"] - 1) * 60 / _REST_SECONDS,
    }


async def _scan_seconds(watched: Path) -> float:
    """A second full look at the folder, by what the daemon looks with."""
    volume = LocalVolume(watched)
    await volume.scan()
    began = time.monotonic()
    await volume.scan()
    seconds = time.monotonic() - began
    volume.close()
    return seconds


def _commit_many(shop: Workshop, endpoint: Endpoint) -> None:
    """Commit one, and write its manifest again under other names: of every checkpoint a restore needs its manifest only."""
    with guarding(endpoint, shop.scratch / "watched"):
        connection = endpoint.connect()
    shutil.rmtree(shop.scratch / "watched")
    key = endpoint.keys(f"{RUN}/.spotguard/manifests/checkpoint-1/")[0]
    connection.request("GET", f"/{BUCKET}/{key}")
    manifest = json.loads(connection.getresponse().read())
    for step in range(2, _CHECKPOINTS + 1):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + step))
        body = json.dumps({**manifest, "name": f"checkpoint-{step}", "step": step, "saved_at": stamp}).encode()
        at = f"{RUN}/.spotguard/manifests/checkpoint-{step}/00000001-{stamp.replace('-', '').replace(':', '')}.json"
        connection.request("PUT", f"/{BUCKET}/{at}", body)
        connection.getresponse().read()
    connection.close()
