"""Asking a container engine, and what becomes of one that does not answer as it should."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotguard.adapters.processes import container_engine, container_trainer
from spotguard.adapters.processes.container_engine import engine_socket
from spotguard.adapters.processes.container_trainer import ContainerTrainer
from spotguard.ports.trainer import CannotSignal
from tests.contract.trainer.worlds import ContainerElsewhereWorld, ContainerWorld
from tests.support.real_processes import RANK, RealProcesses


async def test_an_engine_that_is_not_there_is_nobody(tmp_path: Path) -> None:
    assert list(await ContainerTrainer("trainer", socket_path=str(tmp_path / "none.sock")).find()) == []


@pytest.mark.parametrize(
    "answer", [(200, b"[]"), (200, b"{"), (500, b'{"message": "broken"}'), (404, b""), (200, b'{"State": {"Running": 1}}')]
)
async def test_an_answer_that_makes_no_sense_is_nobody_and_no_crash(processes: RealProcesses, answer: tuple[int, bytes]) -> None:
    world = ContainerWorld(processes)
    world.start()
    world.engine.answer = answer
    assert list(await world.trainer.find()) == []


async def test_a_container_of_another_namespace_is_signalled_by_its_engine(
    processes: RealProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ContainerElsewhereWorld(processes)
    world.start()
    (process,) = await world.trainer.find()
    await world.trainer.signal(process, "SIGUSR1")
    assert world.engine.kills == ["SIGUSR1"]
    world.engine.answer = 500, b'{"message": "no more room"}'
    assert await world.trainer.alive(process)
    with pytest.raises(CannotSignal, match=r"SIGUSR1 to container trainer: .*no more room"):
        await world.trainer.signal(process, "SIGUSR1")


async def test_the_ranks_in_a_container_are_found_behind_its_shell(processes: RealProcesses) -> None:
    world = ContainerWorld(processes)
    script = processes.script("train_ranks.py", RANK)
    command = f'python3 "{script}" {processes.folder}/a & python3 "{script}" {processes.folder}/b & wait; sleep 60'
    shell, lines = processes.start("sh", "-c", command, lines=2)
    world.announce(shell.pid)
    assert sorted(process.pid for process in await world.trainer.find()) == sorted(map(int, lines))
    for line in lines:
        os.kill(int(line), signal.SIGKILL)
        while os.path.exists(f"/proc/{line}"):
            os.sched_yield()
    assert shell.poll() is None
    assert list(await world.trainer.find()) == []


def test_where_the_engine_listens(tmp_path: Path) -> None:
    assert engine_socket({"DOCKER_HOST": "unix:///x/docker.sock"}) == "/x/docker.sock"
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman/podman.sock").touch()
    usual = [place for place in ("/var/run/docker.sock", "/run/podman/podman.sock") if os.path.exists(place)]
    expected = usual[0] if usual else f"{tmp_path}/podman/podman.sock"
    assert engine_socket({"XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_HOST": "tcp://elsewhere"}) == expected


async def test_an_engine_that_hangs_is_given_up(processes: RealProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(container_engine, "ANSWER_SECONDS", 0.1)
    path = processes.folder / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        assert list(await ContainerTrainer("trainer", socket_path=str(path)).find()) == []


_PODMAN_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Path]]:
    """The command and the socket of an engine of our own."""
    (tmp_path / "containers.conf").write_text(_PODMAN_CONF)
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    short = tempfile.mkdtemp(prefix="sg-")  # podman wants at most 50 characters
    command = ["podman", "--root", f"{tmp_path}/root", "--runroot", short, "--storage-driver", "vfs"]
    path = tmp_path / "podman.sock"
    service = subprocess.Popen([*command, "system", "service", "-t", "0", f"unix://{path}"], stderr=subprocess.DEVNULL)
    try:
        yield command, path
    finally:
        subprocess.run([*command, "rm", "--force", "--all", "--time", "0"], stdout=subprocess.DEVNULL, check=False)
        service.terminate()
        service.wait()
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("podman") is None or shutil.which("runc") is None, reason="podman or runc is not installed (apt)")
@pytest.mark.skipif(os.geteuid() != 0, reason="a container of the host's own folders needs root")
async def test_a_real_container_is_signalled_by_its_number_and_by_its_engine(
    podman: tuple[list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, path = podman
    root, out = tmp_path / "rootfs", tmp_path / "out"
    for folder in (*(root / name for name in ("usr", "lib", "lib64", "bin", "etc", "proc", "sys", "dev", "out")), out):
        folder.mkdir(parents=True)
    script = 'trap "echo USR1 >>/out/noted" USR1; echo ready >/out/noted; while :; do sleep 0.05; done'
    volumes = [word for name in ("usr", "lib", "lib64", "bin") for word in ("-v", f"/{name}:/{name}:ro")]
    run = [*command, "run", "-d", "--name", "trainer", "--network", "host", *volumes, "-v", f"{out}:/out", "--rootfs", str(root)]
    started = subprocess.run([*run, "sh", "-c", script], capture_output=True, text=True, check=False)
    if started.returncode != 0:
        pytest.skip(f"no container can be started here: {started.stderr.strip()[-200:]}")

    async def noted(lines: list[str]) -> None:
        async with asyncio.timeout(20):
            while not (out / "noted").exists() or (out / "noted").read_text().split() != lines:  # noqa: ASYNC110 - the other is a process
                await asyncio.sleep(0.02)

    await noted(["ready"])
    trainer = ContainerTrainer("trainer", socket_path=str(path), signal_name="SIGUSR1")
    (process,) = await trainer.find()
    await trainer.signal(process, "SIGUSR1")
    await noted(["ready", "USR1"])
    monkeypatch.setattr(container_trainer, "_is_here", lambda running: False)
    (process,) = await trainer.find()
    await trainer.signal(process, "SIGUSR1")
    await noted(["ready", "USR1", "USR1"])
    subprocess.run([*command, "rm", "--force", "--time", "0", "trainer"], stdout=subprocess.DEVNULL, check=True)
    assert not await trainer.alive(process)
    assert list(await trainer.find()) == []
