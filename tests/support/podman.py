"""Containers on this machine, from the image that `servers/container_image.sh` built. Every container is removed by its own name."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path

HOME = Path(os.environ.get("SPOTGUARD_CI_ENV", Path(__file__).parents[2] / ".ci-env")).resolve() / "containers"
IMAGE = "localhost/spotguard"


def why_not() -> str | None:
    """What is missing to run the image; None when nothing is."""
    if os.geteuid() != 0 or shutil.which("podman") is None:
        return "running the image needs root and podman (apt: podman runc)"
    return None if list(HOME.glob("built-*")) else "tests/support/servers/container_image.sh has not built the image"


class Podman:
    def __init__(self) -> None:
        self._own = f"sg{uuid.uuid4().hex[:8]}-"
        self._started: list[str] = []

    def call(self, *arguments: str, check: bool = True, timeout: float = 90.0) -> str:
        done = subprocess.run(
            ["podman", "--root", str(HOME / "store"), "--runroot", str(HOME / "run"), "--storage-driver", "overlay", *arguments],
            env={**os.environ, "CONTAINERS_CONF": str(HOME / "containers.conf")},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def start(self, name: str, *options: str, command: tuple[str, ...] = ()) -> None:
        """In the background, on the host's network."""
        self._started.append(name)
        self.call("run", "-d", "--name", self._own + name, "--pull=never", "--network", "host", *options, IMAGE, *command)

    def called(self, name: str) -> str:
        """The container's name as podman knows it."""
        return self._own + name

    def exit_status(self, name: str) -> int:
        return int(self.call("wait", self._own + name))

    def logs(self, name: str) -> str:
        return self.call("logs", self._own + name, check=False)

    def remove_all(self) -> None:
        for name in reversed(self._started):
            self.call("rm", "-f", "-t", "1", self._own + name, check=False)
