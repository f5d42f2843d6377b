"""Whom to signal, from tables of processes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotguard.core.launchers import is_launcher
from spotguard.core.process_facts import ProcessFacts
from spotguard.core.trainer_choice import Spared, ancestors, choose, is_spotguard

PATTERN = re.compile(r"train\.py")
DAEMON = 50


def process(pid: int, ppid: int, command: str, *, zombie: bool = False) -> ProcessFacts:
    return ProcessFacts(pid, ppid, tuple(command.split()), float(pid), zombie)


INIT = process(1, 0, "/sbin/init")
US = process(DAEMON, 1, "/venv/bin/python /venv/bin/spotguard daemon --set trainer.process=train.py")


def targets(*table: ProcessFacts) -> list[int]:
    return [facts.pid for facts in choose(PATTERN, (INIT, US, *table), DAEMON).targets]


def spared(*table: ProcessFacts) -> dict[int, Spared]:
    return dict(choose(PATTERN, (INIT, US, *table), DAEMON).spared)


def test_a_plain_trainer_is_the_target() -> None:
    assert targets(process(100, 1, "python train.py --epochs 3"), process(101, 1, "python serve.py")) == [100]


def test_data_loader_workers_are_spared_and_their_parent_is_not_a_launcher_for_them() -> None:
    table = [process(100, 1, "python train.py"), *(process(pid, 100, "python train.py") for pid in (101, 102, 103))]
    assert targets(*table) == [100]
    assert spared(*table) == {DAEMON: Spared.OURS, 101: Spared.WORKER, 102: Spared.WORKER, 103: Spared.WORKER}


def test_torchrun_and_the_shell_above_it_are_launchers_and_every_rank_is_a_target() -> None:
    table = [
        process(90, 1, "bash -c torchrun --nproc-per-node 2 train.py"),
        process(100, 90, "python /venv/bin/torchrun --nproc-per-node 2 train.py"),
        process(101, 100, "python -u train.py"),
        process(102, 100, "python -u train.py"),
        process(103, 101, "python -u train.py"),
        process(104, 102, "python -u train.py"),
    ]
    assert targets(*table) == [101, 102]
    assert spared(*table) == {
        DAEMON: Spared.OURS,
        90: Spared.LAUNCHER,
        100: Spared.LAUNCHER,
        103: Spared.WORKER,
        104: Spared.WORKER,
    }


def test_a_launcher_is_told_through_processes_that_do_not_match() -> None:
    assert targets(process(90, 1, "sudo python train.py"), process(91, 90, "env"), process(92, 91, "python3 train.py")) == [92]


def test_the_daemon_and_those_it_descends_from_are_never_targets() -> None:
    shell = process(40, 1, "bash -c spotguard daemon & exec python train.py")
    us = process(DAEMON, 40, "/venv/bin/spotguard daemon --set trainer.process=train.py")
    choice = choose(PATTERN, (INIT, shell, us), DAEMON)
    assert choice.targets == ()
    assert choice.spared == {40: Spared.OURS, DAEMON: Spared.OURS}


def test_the_trainer_below_our_own_run_command_is_a_target() -> None:
    us = process(DAEMON, 1, "spotguard run --dir out -- python train.py")
    assert [facts.pid for facts in choose(PATTERN, (INIT, us, process(60, DAEMON, "python train.py")), DAEMON).targets] == [60]


def test_another_spotguard_and_what_wraps_it_are_spared_but_not_a_trainer_that_started_one() -> None:
    table = [
        process(70, 1, "sudo spotguard daemon --set trainer.process=train.py"),
        process(71, 70, "spotguard daemon --set trainer.process=train.py"),
        process(80, 1, "python train.py"),
        process(81, 80, "python -m spotguard status --set trainer.process=train.py"),
    ]
    assert targets(*table) == [80]
    assert spared(*table) == {DAEMON: Spared.OURS, 70: Spared.SPOTGUARD, 71: Spared.SPOTGUARD, 81: Spared.SPOTGUARD}


@pytest.mark.parametrize(
    "command",
    [
        "vim train.py",
        "tail -f train.py.log",
        "ssh host python train.py",
        "docker run img python train.py",
        "tmux: train.py",
        "/usr/bin/grep train.py",
    ],
)
def test_what_only_names_the_file_is_an_onlooker_even_below_the_trainer(command: str) -> None:
    assert targets(process(100, 1, command)) == []
    assert targets(process(100, 1, "python train.py"), process(101, 100, command)) == [100]


def test_zombies_are_gone() -> None:
    assert targets(process(100, 1, "python train.py", zombie=True)) == []


@pytest.mark.parametrize(
    "command",
    [
        "spotguard daemon",
        "/opt/bin/spotguard daemon",
        "python /opt/bin/spotguard run -- python train.py",
        "/usr/bin/python3.11 -I -X dev -m spotguard daemon",
        "python -Im spotguard daemon",
        "python3 -um spotguard.cli",
        "python /src/spotguard/__main__.py",
    ],
)
def test_a_spotguard_is_known_however_it_was_started(command: str) -> None:
    assert is_spotguard(tuple(command.split()))


@pytest.mark.parametrize(
    "command",
    ["", "python train.py --tool spotguard", "python -c spotguard", "python -m torch spotguard", "python", "my-spotguard", "python -X"],
)
def test_what_only_names_spotguard_is_none(command: str) -> None:
    assert not is_spotguard(tuple(command.split()))


def test_a_launcher_whose_ranks_do_not_match_stands_for_its_ranks() -> None:
    table = [
        process(100, 1, "python /venv/bin/torchrun --nproc-per-node 2 train.py"),
        process(101, 100, "python -u -m my.training"),
        process(102, 100, "python -u -m my.training"),
        process(103, 101, "python -u -m my.training"),
    ]
    assert targets(*table) == [101, 102]
    assert spared(*table) == {DAEMON: Spared.OURS, 100: Spared.LAUNCHER}
    assert targets(table[0]) == []  # before they run, and when they have ended


def test_a_ring_of_parents_ends() -> None:
    table = (process(5, 6, "a train.py"), process(6, 5, "b train.py"), US, process(7, 7, "c train.py"))
    assert [facts.pid for facts in choose(PATTERN, table, DAEMON).targets] == [7]


commands = st.sampled_from(
    [
        "python train.py",
        "python train.py --rank 1",
        "torchrun train.py",
        "bash -c train.py",
        "bash",
        "spotguard daemon train.py",
        "vim train.py",
        "",
    ]
)


@st.composite
def tables(draw: st.DrawFn, *, rings: bool) -> tuple[tuple[ProcessFacts, ...], int]:
    count = draw(st.integers(1, 14))
    table = []
    for pid in range(1, count + 1):
        ppid = draw(st.integers(0, count if rings else pid - 1))
        table.append(process(pid, ppid, draw(commands), zombie=draw(st.integers(0, 9)) == 0))
    return tuple(draw(st.permutations(table))), draw(st.integers(1, count + 1))


def in_a_ring(facts: ProcessFacts, by_pid: Mapping[int, ProcessFacts]) -> bool:
    return facts.pid in {above.ppid for above in ancestors(facts, by_pid)}


@given(tables(rings=True))
def test_targets_match_live_and_are_neither_ours_nor_workers_nor_above_another(drawn: tuple[tuple[ProcessFacts, ...], int]) -> None:
    table, own = drawn
    by_pid = {facts.pid: facts for facts in table}
    chosen = choose(PATTERN, table, own).targets
    ours = {own} | ({above.pid for above in ancestors(by_pid[own], by_pid)} if own in by_pid else set())
    for target in chosen:
        parent = by_pid.get(target.ppid)
        assert PATTERN.search(target.command) or any(
            PATTERN.search(above.command) and is_launcher(above) for above in ancestors(target, by_pid)
        )
        assert not target.zombie
        assert target.pid not in ours
        assert not is_spotguard(target.arguments)
        assert parent is None or parent == target or parent.arguments != target.arguments or is_launcher(parent)
        above_it = [above for above in ancestors(target, by_pid) if not in_a_ring(above, by_pid)]
        assert not {above.pid for above in above_it} & {other.pid for other in chosen}


@given(tables(rings=False))
def test_every_live_match_is_a_target_or_spared_and_one_that_nobody_shields_leads_to_a_target(
    drawn: tuple[tuple[ProcessFacts, ...], int],
) -> None:
    table, own = drawn
    choice = choose(PATTERN, table, own)
    by_pid = {facts.pid: facts for facts in table}
    matches = {facts.pid for facts in table if not facts.zombie and PATTERN.search(facts.command)}
    assert {facts.pid for facts in choice.targets if facts.pid in matches} | choice.spared.keys() == matches
    assert not {facts.pid for facts in choice.targets} & choice.spared.keys()
    if any(why is Spared.LAUNCHER and not is_launcher(by_pid[pid]) for pid, why in choice.spared.items()):
        assert choice.targets or any(is_launcher(by_pid[pid]) for pid in choice.spared)


@given(tables(rings=True))
def test_the_order_of_the_table_does_not_matter(drawn: tuple[tuple[ProcessFacts, ...], int]) -> None:
    table, own = drawn
    assert choose(PATTERN, table, own) == choose(PATTERN, tuple(reversed(table)), own)
