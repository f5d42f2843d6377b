"""Many files, many checkpoints, many loose files."""

from __future__ import annotations

import json
import shutil
import time

from benchmarks import datasets
from benchmarks.endpoint import BUCKET, Endpoint, serving
from benchmarks.guarding import RUN, SPOTGUARD, guarding
from benchmarks.measuring import cpu_seconds_fine, peak_mib, resident_mib
from benchmarks.transfer import Record, Workshop

_CHECKPOINTS = 1000
_LOOSE = 100_000


def files(shop: Workshop, record: Record) -> None:
    """Checkpoints of 1,250 to 10,000 files of 10 kB: what each thousand of them costs."""
    for _ in range(min(shop.rounds, 3)):
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
            gets = asked["gets"] - 4
            record(
                "restore", {"seconds": measured.seconds, "lists": asked["lists"], "gets_beside_data": gets, "peak_mib": measured.peak_mib}
            )
            endpoint.reset()
            began = time.monotonic()
            with guarding(endpoint, shop.scratch / "watched", warm=False) as daemon:
                seconds = time.monotonic() - began
                time.sleep(3)
                asked = endpoint.stats()
                record("daemon", {"seconds": seconds, "requests": asked["requests"] - 1, "rss_mib": resident_mib(daemon.pid)})


def loose(shop: Workshop, record: Record) -> None:
    """100,000 loose files, all of them sent once; then nothing happens any more."""
    watched = shop.scratch / "watched"
    for number in range(_LOOSE):
        datasets.write(watched / f"d{number // 1000:03}" / f"{number:06}.txt", 100)
    with serving(shop.sink) as endpoint, guarding(endpoint, watched, warm=False) as daemon:
        began = time.monotonic()
        while not endpoint.keys(f"{RUN}/.spotguard/loose.json"):
            if time.monotonic() - began > 220:
                raise RuntimeError("the loose files were not sent in time")
            time.sleep(0.5)
        seconds, puts = time.monotonic() - began, endpoint.stats()["puts"]
        time.sleep(5)
        endpoint.reset()
        before = cpu_seconds_fine(daemon.pid)
        time.sleep(40)
        used = cpu_seconds_fine(daemon.pid) - before
        record(
            "spotguard",
            {
                "first_pass_seconds": seconds,
                "puts": puts,
                "idle_cpu_percent": used / 40 * 100,
                "idle_rss_mib": resident_mib(daemon.pid),
                "peak_mib": peak_mib(daemon.pid),
                "idle_requests_per_minute": (endpoint.stats()["requests"] - 1) * 1.5,
            },
        )


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
