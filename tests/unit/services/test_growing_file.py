"""The upload of a growing file and that of the whole file to the same key: neither is in the way of the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from spotguard.core.reuse import KnownFiles
from spotguard.ports.part_transfer import SentPart, Upload
from spotguard.services.upload.begun_upload import BegunUpload
from spotguard.services.upload.content_sums import ContentSums
from spotguard.services.upload.growing_file import Ending, GrowingFile
from tests.support.virtual_time import run_virtual
from tests.unit.services.sending_world import MIB, Sending


async def growing(world: Sending) -> GrowingFile:
    return GrowingFile(world.engine, world.disk, await world.disk.hold("f"), "run1/f", lambda: (9,), lambda size: None)


def test_an_upload_that_the_whole_file_takes_over_while_its_parts_are_stopped_is_not_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = Sending(12 * MIB)
        send_part = world.engine._transfer.send_part

        async def slowly(*arguments: Any, **more: Any) -> SentPart:
            try:
                return await send_part(*arguments, **more)
            except asyncio.CancelledError:
                await asyncio.sleep(1)  # the connection ends
                raise

        monkeypatch.setattr(world.engine._transfer, "send_part", slowly)
        ahead = asyncio.ensure_future((await growing(world)).send({}, 5 * MIB, KnownFiles()))
        await asyncio.sleep(2)
        errand = await world.errand()
        sums = ContentSums(world.disk, errand.held, world.engine.combine, {})
        world.disk.delete("f")
        await asyncio.sleep(0.5)
        whole = asyncio.ensure_future(world.engine.send(replace(errand, sums=sums), world.count))
        assert (await whole).size == 12 * MIB
        assert await ahead is Ending.WHOLE
        assert "abort" not in world.verbs()
        assert not world.bucket.uploads
        world.disk.close()

    run_virtual(story())


def test_a_part_that_was_stopped_before_it_began_holds_nobody_up() -> None:
    async def story() -> None:
        begun = BegunUpload(Upload("k", "u"), MIB)
        begun.flying[1] = asyncio.ensure_future(asyncio.sleep(100))
        await begun.ground()
        await asyncio.wait_for(begun.all_landed(), 1)

    run_virtual(story())
