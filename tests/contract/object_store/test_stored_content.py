"""What lies in the bucket already: copied with proof, and parts of unfinished uploads recognised by theirs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from spotguard.ports.object_store import ObjectExists, ObjectMissing, UploadMissing
from spotguard.ports.part_transfer import ListedPart, SentObject, Slice
from spotguard.ports.stored_content import CopyUnproven
from tests.contract.object_store.benches import MIB, Bench

PART = 5 * MIB
OLD, NEW = {"spotguard-run": "s3://b/run", "spotguard-checkpoint": "c-1"}, {"spotguard-run": "s3://b/run", "spotguard-checkpoint": "c-2"}
SOURCE = "run/c-1/ü b.bin"


class Known:
    """A file whose content is an object of the bucket too."""

    def __init__(self, path: Path) -> None:
        self.content = os.urandom(2 * PART + 12_345)
        path.write_bytes(self.content)
        self.fd = os.open(path, os.O_RDWR)
        self.crc = crc64nvme(self.content)

    def part(self, number: int) -> Slice:
        at = (number - 1) * PART
        return Slice(self.fd, at, min(PART, len(self.content) - at))

    def crc_of(self, number: int) -> int:
        part = self.part(number)
        return int(crc64nvme(self.content[part.offset : part.offset + part.size]))

    async def store_in(self, bench: Bench) -> SentObject:
        return await bench.transfer.put(SOURCE, Slice(self.fd, 0, len(self.content)), only_new=True, metadata=OLD)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    made = Known(tmp_path / "known")
    yield made
    os.close(made.fd)


async def test_a_copy_has_the_bytes_its_own_metadata_and_a_proven_sum(bench: Bench, known: Known) -> None:
    await known.store_in(bench)
    copying = bench.stored.copy(SOURCE, "run/c-2/ü b.bin", size=len(known.content), crc64nvme=known.crc, metadata=NEW)
    if not bench.quirks.proves_copies:
        with pytest.raises(CopyUnproven):
            await copying
        return
    copy = await copying
    facts = await bench.store.head("run/c-2/ü b.bin")
    assert copy == SentObject("run/c-2/ü b.bin", len(known.content), facts.etag, known.crc)
    assert (facts.size, facts.crc64nvme, dict(facts.metadata)) == (copy.size, known.crc, NEW)
    assert await bench.store.read(copy.key) == known.content
    assert dict((await bench.store.head(SOURCE)).metadata) == OLD


async def test_a_copy_onto_a_taken_key_is_refused_or_the_store_is_known_not_to_refuse(bench: Bench, known: Known) -> None:
    await known.store_in(bench)
    await bench.store.create("taken", b"there first")
    if bench.quirks.copies_only_new:
        with pytest.raises(ObjectExists):
            await bench.stored.copy(SOURCE, "taken", size=len(known.content), crc64nvme=known.crc, metadata=NEW)
        assert await bench.store.read("taken") == b"there first"
    else:
        assert bench.stored.whole_copy_bytes == 0


async def test_a_copy_of_what_is_gone_or_other_content_is_told(bench: Bench, known: Known) -> None:
    await known.store_in(bench)
    with pytest.raises(ObjectMissing):
        await bench.stored.copy("run/gone", "k", size=1, crc64nvme=1, metadata=NEW)
    with pytest.raises(CopyUnproven):
        await bench.stored.copy(SOURCE, "k", size=len(known.content), crc64nvme=known.crc ^ 1, metadata=NEW)


async def test_copied_and_sent_parts_become_one_object(bench: Bench, known: Known) -> None:
    await known.store_in(bench)
    upload = await bench.transfer.begin("run/c-2/k", metadata=NEW)
    parts = [await bench.stored.copy_part(upload, n, SOURCE, known.part(n), crc64nvme=known.crc_of(n)) for n in (1, 3)]
    parts.insert(1, await bench.transfer.send_part(upload, 2, known.part(2)))
    assert [(part.size, part.crc64nvme) for part in parts] == [(known.part(n).size, known.crc_of(n)) for n in (1, 2, 3)]
    sent = await bench.transfer.complete(upload, parts, only_new=True)
    facts = await bench.store.head("run/c-2/k")
    assert (sent.crc64nvme, facts.size, dict(facts.metadata)) == (known.crc, len(known.content), NEW)
    assert await bench.store.read("run/c-2/k") == known.content


async def test_a_part_of_what_is_gone_or_of_other_content_is_no_copy_and_can_be_sent_instead(bench: Bench, known: Known) -> None:
    await known.store_in(bench)
    upload = await bench.transfer.begin("k", metadata=NEW)
    with pytest.raises(ObjectMissing):
        await bench.stored.copy_part(upload, 1, "run/gone", known.part(1), crc64nvme=known.crc_of(1))
    os.pwrite(known.fd, b"changed", 0)
    changed = b"changed" + known.content[7:PART]
    with pytest.raises(CopyUnproven):
        await bench.stored.copy_part(upload, 1, SOURCE, known.part(1), crc64nvme=crc64nvme(changed))
    sent = await bench.transfer.complete(upload, [await bench.transfer.send_part(upload, 1, known.part(1))], only_new=True)
    assert (sent.crc64nvme, await bench.store.read("k")) == (crc64nvme(changed), changed)


async def test_copying_into_an_upload_that_is_gone_is_told(bench: Bench, known: Known) -> None:
    await known.store_in(bench)
    upload = await bench.transfer.begin("k", metadata=NEW)
    await bench.transfer.abort(upload)
    with pytest.raises(UploadMissing if bench.quirks.tells_parts_of_missing_uploads else Exception):
        await bench.stored.copy_part(upload, 1, SOURCE, known.part(1), crc64nvme=known.crc_of(1))


async def test_parts_of_an_unfinished_upload_are_confirmed_by_the_local_bytes_and_by_nothing_else(bench: Bench, known: Known) -> None:
    upload = await bench.transfer.begin("run/k", metadata=NEW)
    sent = [await bench.transfer.send_part(upload, n, known.part(n)) for n in (1, 3)]
    (found,) = await bench.transfer.unfinished("run/")
    listed = await bench.transfer.parts(found)
    assert [await bench.stored.confirm(part, known.part(part.number)) for part in listed] == sent
    assert all(part.modified is None or abs(part.modified - time.time()) < 60 for part in listed)
    assert found.initiated is not None
    assert (abs(found.initiated - time.time()) < 60) == bench.quirks.dates_uploads
    os.pwrite(known.fd, bytes([os.pread(known.fd, 1, PART - 1)[0] ^ 1]), PART - 1)
    assert await bench.stored.confirm(listed[0], known.part(1)) is None
    assert await bench.stored.confirm(listed[1], known.part(1)) is None


async def test_a_part_without_checksum_or_md5_is_never_confirmed(bench: Bench, known: Known) -> None:
    for etag in ("", "f" * 32, "0123456789abcdef-3", "opaque"):
        assert await bench.stored.confirm(ListedPart(1, PART, etag, None), known.part(1)) is None
