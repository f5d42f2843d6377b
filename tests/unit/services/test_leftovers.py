"""After kill -9 or a denial the next life goes on from the parts that lie in the bucket, and throws away what is of no use."""

from __future__ import annotations

import asyncio

import pytest

from spotguard.ports.object_store import StoreDenied
from tests.support.faulty_store import Fault
from tests.support.virtual_time import run_virtual
from tests.unit.services.sending_world import MIB, Sending

DAY = 24 * 3600


async def killed(sending: Sending, *, after: float) -> None:
    """A life that ends in the middle: what it knew is gone, what it sent is not."""
    task = asyncio.ensure_future(sending.engine.send(await sending.errand()))
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.wait({task})


def test_the_next_life_sends_only_the_missing_parts() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        second = first.again()
        sent = await second.engine.send(await second.errand(), second.count)
        assert (second.progress, second.found) == (17 * MIB, 25 * MIB)
        assert second.bucket.objects["run1/f"].body == second.disk.content("f")
        assert sent.first_part is not None
        assert not second.bucket.uploads
        assert second.verbs().count("begin") == 1
        second.disk.close()

    run_virtual(story())


def test_parts_of_another_size_setting_are_gone_on_with_in_their_own_size() -> None:
    async def story() -> None:
        first = Sending(42 * MIB, part_bytes=5 * MIB)
        await killed(first, after=27)
        second = first.again(part_bytes=16 * MIB)
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 17 * MIB
        assert second.bucket.objects["run1/f"].body == second.disk.content("f")
        second.disk.close()

    run_virtual(story())


def test_a_part_that_differs_is_sent_again_and_the_others_are_kept() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        content = bytearray(first.disk.content("f"))
        content[7 * MIB] ^= 1
        first.disk.write("f", bytes(content), replace=True)
        second = first.again()
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 22 * MIB
        assert second.bucket.objects["run1/f"].body == bytes(content)
        second.disk.close()

    run_virtual(story())


def test_an_upload_of_other_content_is_thrown_away_and_its_parts_are_never_used() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        first.disk.write("f", b"y" * 42 * MIB, replace=True)
        second = first.again()
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 42 * MIB
        assert second.bucket.objects["run1/f"].body == b"y" * 42 * MIB
        assert not second.bucket.uploads
        second.disk.close()

    run_virtual(story())


def test_of_several_uploads_the_fullest_is_gone_on_with_and_the_others_are_thrown_away() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        await first.engine._transfer.begin("run1/f", metadata={})  # an open whose answer was lost
        second = first.again()
        second.faults.plan("unfinished", Fault.DENIED)  # a life that could not look
        await killed(second, after=7)
        assert len(second.bucket.uploads) == 3
        third = second.again()
        await third.engine.send(await third.errand(), third.count)
        assert third.progress == 17 * MIB
        assert not third.bucket.uploads
        third.disk.close()

    run_virtual(story())


def test_who_does_not_hold_the_run_throws_nothing_away() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        first.disk.write("f", b"y" * 42 * MIB, replace=True)
        second = first.again()
        second.holds_the_run = False
        await second.engine.send(await second.errand())
        assert len(second.bucket.uploads) == 1
        second.disk.close()

    run_virtual(story())


def test_uploads_to_other_keys_are_left_alone() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        other = await first.engine._transfer.begin("run1/f@2", metadata={})
        longer = await first.engine._transfer.begin("run1/f.bin", metadata={})
        await first.engine.send(await first.errand())
        assert set(first.bucket.uploads) == {other.upload_id, longer.upload_id}
        first.disk.close()

    run_virtual(story())


def test_an_expired_credential_costs_no_part_that_has_gone() -> None:
    async def story() -> None:
        sending = Sending(42 * MIB)
        sending.faults.plan("send_part", Fault.NONE, Fault.NONE, Fault.DENIED)
        with pytest.raises(StoreDenied):
            await sending.engine.send(await sending.errand())
        await sending.engine.send(await sending.errand())
        assert sending.verbs().count("send_part") == 9
        assert sending.verbs().count("begin") == 1
        assert sending.bucket.objects["run1/f"].body == sending.disk.content("f")
        sending.disk.close()

    run_virtual(story())


def test_a_store_that_may_not_or_can_not_be_asked_costs_the_parts_and_nothing_else() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        second = first.again()
        second.faults.plan("unfinished", Fault.DENIED)
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 42 * MIB
        assert second.bucket.objects["run1/f"].body == second.disk.content("f")
        third = first.again()
        third.disk.write("f", b"z" * 42 * MIB, replace=True)
        third.bucket.objects.clear()
        third.faults.plan("parts", Fault.UNAVAILABLE)
        await third.engine.send(await third.errand(), third.count)
        assert third.progress == 42 * MIB
        third.disk.close()

    run_virtual(story())


def test_an_upload_whose_object_would_be_too_old_for_a_commit_is_not_gone_on_with() -> None:
    """S3 dates an object from the beginning of its upload, and the janitor of another machine goes by that date."""

    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        await asyncio.sleep(3 * DAY + 60)
        second = first.again()
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 42 * MIB
        assert not second.bucket.uploads
        second.disk.close()

    run_virtual(story())


def test_who_is_cancelled_while_looking_finds_the_parts_the_next_time() -> None:
    async def story() -> None:
        first = Sending(42 * MIB)
        await killed(first, after=27)
        second = first.again()
        second.faults.plan("parts", Fault.HANG)
        await killed(second, after=5)
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 17 * MIB
        second.disk.close()

    run_virtual(story())


def test_a_store_without_part_sums_gets_all_of_it_again() -> None:
    """The fake's ETags are no MD5s: nothing proves its parts."""

    async def story() -> None:
        first = Sending(42 * MIB, keeps_checksums=False)
        await killed(first, after=27)
        second = first.again()
        await second.engine.send(await second.errand(), second.count)
        assert second.progress == 42 * MIB
        assert second.bucket.objects["run1/f"].body == second.disk.content("f")
        second.disk.close()

    run_virtual(story())
