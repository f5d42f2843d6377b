"""The fake metadata service in a process of its own, steered through its control address."""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path
from typing import Any

from spotguard.demo.server_process import ServerProcess


class MetadataProcess(ServerProcess):
    """`with MetadataProcess() as service:` then `service.url` is the endpoint for `imds.endpoint`."""

    def __init__(self, *, log: Path | None = None) -> None:
        super().__init__([sys.executable, "-m", "spotguard.demo.metadata_service", "--port", "0"], log=log)

    def interrupt(self, in_seconds: float) -> None:
        """From now on say that the instance will be terminated in so many seconds."""
        self.control("POST", {"notice": {"action": "terminate", "seconds": in_seconds}})

    def withdraw(self) -> None:
        """Say nothing any more, as the service of another machine; faults are healed too."""
        self.control("DELETE")

    def control(self, method: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
        """What `spotguard.demo.metadata_service` documents for `/_control`. Raises RuntimeError when it refuses."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        try:
            connection.request(method, "/_control", json.dumps(change) if change else None, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"the metadata service refused {change}: {body.strip()}")
        told: dict[str, Any] = json.loads(body)
        return told
