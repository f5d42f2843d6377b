"""The two calls of a container engine's HTTP interface that we need: Docker's (its Engine API), which Podman speaks too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import aiohttp

ANSWER_SECONDS = 3.0
"""An answer takes milliseconds; an engine that hangs must not hold up a drain."""


class EngineUnavailable(Exception):
    """The engine cannot be asked, or gave no usable answer. `str()` is one line; `fix` says what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class NoSuchContainer(Exception):
    """There is none of this name, or it does not run."""


class RunningContainer(NamedTuple):
    pid: int
    """Of its first process, as the engine's host counts it."""
    started_at: float
    """Seconds since the epoch."""


class ContainerEngine:
    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    async def inspect(self, container: str) -> RunningContainer:
        """Raises NoSuchContainer, EngineUnavailable."""
        body = await self._call("GET", f"/containers/{quote(container, safe='')}/json")
        try:
            state = json.loads(body)["State"]
            if not state["Running"]:
                raise NoSuchContainer(f"container {container} does not run")
            return RunningContainer(int(state["Pid"]), datetime.fromisoformat(state["StartedAt"]).timestamp())
        except (ValueError, KeyError, TypeError) as error:
            raise EngineUnavailable(f"{self._socket_path} answered with something else than a container's state") from error

    async def kill(self, container: str, signal_name: str) -> None:
        """Have the engine send this signal to the container's first process. Raises NoSuchContainer, EngineUnavailable."""
        await self._call("POST", f"/containers/{quote(container, safe='')}/kill?signal={signal_name}")

    async def _call(self, method: str, path: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._socket_path), timeout=timeout) as session,
                session.request(method, f"http://engine{path}") as response,
            ):
                body = await response.read()
        except TimeoutError as error:
            raise EngineUnavailable(f"{self._socket_path} did not answer within {ANSWER_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailable(*_unreachable(self._socket_path, error)) from error
        if response.status in (404, 409):
            raise NoSuchContainer(_message(body) or f"{path}: status {response.status}")
        if response.status >= 300:
            raise EngineUnavailable(f"{self._socket_path} refused {method} {path}: {response.status} {_message(body)}")
        return body


def engine_socket(environment: Mapping[str, str]) -> str:
    """Where the engine listens: `DOCKER_HOST` if it names a socket, else the first usual place that exists, else Docker's."""
    host = environment.get("DOCKER_HOST", "")
    if host.startswith("unix://"):
        return host.removeprefix("unix://")
    session = environment.get("XDG_RUNTIME_DIR")
    places = ["/var/run/docker.sock", "/run/podman/podman.sock"]
    places += [f"{session}/docker.sock", f"{session}/podman/podman.sock"] if session else []
    return next((place for place in places if Path(place).exists()), places[0])


def _unreachable(socket_path: str, error: Exception) -> tuple[str, str]:
    reason = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(reason, PermissionError):
        return f"{socket_path} may not be used", f"run spotguard as a user who may ({_owner(socket_path)})"
    if isinstance(reason, FileNotFoundError):
        return f"there is no container engine at {socket_path}", "start it, set DOCKER_HOST=unix://…, or mount its socket here"
    return f"{socket_path} cannot be reached: {reason}", "see whether the container engine runs"


def _owner(path: str) -> str:
    try:
        return f"its group is {os.stat(path).st_gid}"
    except OSError:
        return "root"


def _message(body: bytes) -> str:
    try:
        return " ".join(str(json.loads(body)["message"]).split())[:200]
    except (ValueError, KeyError, TypeError):
        return ""
