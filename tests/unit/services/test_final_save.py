"""Whether the trainer is asked for one more save, and which save counts as that one, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spotguard.core.notice import NoticeKind
from spotguard.ports.trainer import TrainerProcess
from tests.support.machine import hf_files
from tests.support.memory_store import Link
from tests.support.virtual_time import run_virtual
from tests.unit.services.drain_world import Stage

UNIT = 250_000
"""Bytes: a slow link and small bodies stand for a fast one and large ones."""


@pytest.mark.parametrize(
    ("link", "settings", "asked"),
    [
        (Link(UNIT), {}, False),
        (Link(UNIT), {"signal_when": "always"}, True),
        (Link(), {}, True),
        (Link(100 * UNIT), {"bytes_per_second": float(UNIT)}, True),
        (Link(3 * UNIT), {}, True),
    ],
    ids=["too large for the link", "asked all the same", "never measured", "measured under the cap only", "it fits"],
)
def test_a_save_is_asked_for_unless_it_is_known_not_to_fit(link: Link, settings: dict[str, Any], asked: bool) -> None:
    async def story() -> None:
        stage = Stage(link=link, **settings)
        process = stage.trainer.start()
        async with stage.machine.on():
            await stage.committed(100, size=70 * UNIT)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            await asyncio.sleep(10)
            assert stage.trainer.signals == ([(process.pid, "SIGUSR1")] if asked else [])
            if not asked:
                assert await stage.verdict() == "safe", "what the trainer finished is committed, and nobody is waited for"

    run_virtual(story())


def test_a_save_that_begins_in_the_very_moment_of_the_signal_is_the_final_one() -> None:
    async def story() -> None:
        stage = Stage()
        stage.trainer.start()

        def save_at_once(_: TrainerProcess, __: str) -> None:
            written = int((stage.clock.wall().timestamp() - 0.004) * 1e9)  # the filesystem's clock is a tick behind
            for name, content in hf_files(200).items():
                stage.machine.disk.write(f"checkpoint-200/{name}", content, mtime_ns=written)

        stage.trainer.on_signal = save_at_once
        async with stage.machine.on():
            await stage.committed(100)
            await asyncio.sleep(10)
            stage.imds.give(NoticeKind.TERMINATE, seconds=60)
            assert await stage.verdict() == "safe"

    run_virtual(story())


def test_a_save_that_was_under_way_when_the_signal_came_is_not_the_final_one() -> None:
    async def story() -> None:
        stage = Stage()
        process = stage.trainer.start()

        async def finish_then_save(_: TrainerProcess, __: str) -> None:
            for name, content in list(hf_files(200).items())[1:]:
                stage.machine.disk.write(f"checkpoint-200/{name}", content)
            await asyncio.sleep(30)
            for name, content in hf_files(210).items():
                stage.machine.disk.write(f"checkpoint-210/{name}", content)
            await asyncio.sleep(0.5)
            stage.trainer.exit(process)

        stage.trainer.on_signal = finish_then_save
        async with stage.machine.on():
            await stage.committed(100)
            await asyncio.sleep(10)
            stage.machine.disk.write("checkpoint-200/config.json", hf_files(200)["config.json"])
            await asyncio.sleep(2)
            stage.imds.give(NoticeKind.TERMINATE, seconds=120)
            began = stage.clock.monotonic()
            assert await stage.verdict() == "safe"
            assert stage.clock.monotonic() - began > 30
            assert stage.machine.states()["checkpoint-210"] == "committed"

    run_virtual(story())
