"""A real trainer that writes 200 MB over the same file again and again, over a link on which one upload takes many of its saves."""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from spotguard.core.manifest_format import decode
from spotguard.core.run_keys import RunKeys
from spotguard.demo.embedded_s3 import EmbeddedS3
from tests.e2e.world import keys_in, s3_client, state_of, wait_until
from tests.support.daemon_process import CommandMachine
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BUCKET = "in-place"
SIZE = 200_000_000
LINK_BYTES_PER_SECOND = 50e6
"""Four seconds for one version."""
PAUSE_SECONDS = 1.5
"""Between two saves, each of which takes some tenths of a second."""

TRAINER = """
import sys, time, zipfile
path, size, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
for version in range(1, 10_000):
    with open(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open(zipfile.ZipInfo("archive/data/0"), "w", force_zip64=True) as member:
            for _ in range(size // 1_000_000):
                member.write(b"%08d" % version * 125_000)
    print(version, flush=True)
    time.sleep(pause)
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[EmbeddedS3]:
    with EmbeddedS3(BUCKET) as server:
        yield server


def version_of(content: bytes) -> int:
    """Which save it is. Fails if it is none, or of two saves."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        data = archive.read("archive/data/0")
    assert data == data[:8] * (SIZE // 8), "a mixture of two saves was committed"
    return int(data[:8])


def generations(client: Any) -> list[int]:
    """The version that each generation in the bucket holds."""
    keys = RunKeys(BUCKET, "run1")
    manifests = sorted(
        (decode(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys_in(client, BUCKET, keys.manifests)),
        key=lambda manifest: manifest.generation,
    )
    return [version_of(client.get_object(Bucket=BUCKET, Key=keys.absolute(m.files[0].key))["Body"].read()) for m in manifests]


def test_each_generation_is_one_save_and_a_crash_in_the_middle_of_one_costs_no_more_than_it(bucket: EmbeddedS3, tmp_path: Path) -> None:
    client = s3_client(bucket.url)
    script = tmp_path / "train.py"
    script.write_text(TRAINER)
    url = f"s3://{BUCKET}/run1"
    with (
        SlowLink(bucket.url, bytes_per_second=LINK_BYTES_PER_SECOND) as link,
        CommandMachine(tmp_path / "one", url=url, endpoint_url=link.url) as machine,
    ):
        machine.output.mkdir()
        file = machine.output / "ckpt.pt"
        trainer = machine.start(sys.executable, script, file, str(SIZE), str(PAUSE_SECONDS), output="trainer.log")
        daemon = machine.daemon()
        wait_until(lambda: len(keys_in(client, BUCKET, "run1/.spotguard/manifests/")) >= 2, seconds=90)
        wait_until(lambda: file.stat().st_size < SIZE // 2, seconds=20)
        trainer.kill()
        assert file.stat().st_size < SIZE, "the trainer was not killed in the middle of a save"
        saved = int((machine.folder / "trainer.log").read_text().split()[-1])
        wait_until(lambda: state_of(daemon.get("/status")[1], "ckpt.pt") == "writing", seconds=30)
        time.sleep(2)
        found = generations(client)
        assert found == sorted(set(found))
        assert saved - found[-1] <= 10
        daemon.kill()
        restored = machine.json("restore", "--set", "watch.settle_seconds=1")  # it was killed more than 2 s ago
        assert version_of(file.read_bytes()) == found[-1]
        assert [moved["name"] for moved in restored["moved_aside"]] == ["ckpt.pt"]
        leftovers = [path.name for path in machine.output.iterdir() if path.name not in ("ckpt.pt", ".spotguard-quarantine")]
        assert leftovers == []
