"""What every trainer does, the one in memory and the real ones."""

from __future__ import annotations

import pytest

from spotguard.ports.trainer import TrainerGone
from tests.contract.trainer.worlds import World


async def test_nobody_is_found_before_the_trainer_starts(world: World) -> None:
    assert world.trainer.configured
    assert list(await world.trainer.find()) == []


async def test_the_trainer_is_found_and_lives(world: World) -> None:
    pid = world.start()
    (process,) = await world.trainer.find()
    assert process.pid == pid
    assert await world.trainer.alive(process)
    assert list(await world.trainer.find()) == [process]


async def test_a_signal_reaches_the_trainer_each_time_it_is_sent(world: World) -> None:
    pid = world.start()
    (process,) = await world.trainer.find()
    await world.trainer.signal(process, "SIGUSR1")
    assert await world.received(1) == [(pid, "SIGUSR1")]
    await world.trainer.signal(process, "SIGUSR1")
    assert await world.received(2) == [(pid, "SIGUSR1")] * 2


async def test_a_trainer_that_ended_is_neither_found_nor_signalled(world: World) -> None:
    world.start()
    (process,) = await world.trainer.find()
    await world.end()
    assert not await world.trainer.alive(process)
    assert list(await world.trainer.find()) == []
    with pytest.raises(TrainerGone, match=str(process.pid)):
        await world.trainer.signal(process, "SIGUSR1")


async def test_a_process_that_took_the_number_over_is_not_taken_for_the_trainer(world: World) -> None:
    world.start()
    (process,) = await world.trainer.find()
    earlier = process._replace(started=process.started - 60)
    assert not await world.trainer.alive(earlier)
    with pytest.raises(TrainerGone):
        await world.trainer.signal(earlier, "SIGKILL")
    assert await world.trainer.alive(process)


async def test_a_restarted_trainer_is_found_as_another_process(world: World) -> None:
    world.start()
    (first,) = await world.trainer.find()
    await world.end()
    pid = world.start()
    (second,) = await world.trainer.find()
    assert second.pid == pid
    assert (second.pid, second.started) != (first.pid, first.started)
