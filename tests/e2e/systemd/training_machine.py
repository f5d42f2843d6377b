"""The shipped units installed as their comments say, with a bucket, a metadata service and a small trainer beside them."""

from __future__ import annotations

import json
from typing import Any

from tests.support.systemd_machine import REPOSITORY, SystemdMachine

OUT = "/srv/training/out"
_S3 = "http://127.0.0.1:5000"
_ENVIRONMENT = "AWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY=test\nAWS_DEFAULT_REGION=us-east-1\n"
_CONFIG = f"""\
watch: {{dir: {OUT}, settle_seconds: 2}}
destination: {{url: "s3://bucket/run1", endpoint_url: "{_S3}"}}
imds: {{endpoint: "http://127.0.0.1:1338", poll_seconds: 1}}
trainer: {{systemd_unit: trainer.service, signal: SIGUSR1}}
interruption: {{shutdown_grace_seconds: 30}}
"""
_SERVER = """\
[Unit]
Before=spotguard.service
[Service]
Type=exec
ExecStart=/opt/spotguard/bin/python -m {command}
"""
_TRAINER = """\
[Service]
UMask=0077
ExecStart=
ExecStart=/usr/local/bin/spotguard resume -- /opt/spotguard/bin/python -m spotguard.demo.trainer --output {out} --steps 100000 \
 --save-steps 20 --step-seconds 0.05 --save-seconds 0.1 --checkpoint-mib 1 --resume {{checkpoint}}
"""
_ASK = """\
#!/opt/spotguard/bin/python
import sys
from urllib.request import Request, urlopen
method, url, body = (*sys.argv[1:], "")[:3]
print(urlopen(Request(url, body.encode(), {"Content-Type": "application/json"}, method=method), timeout=5).read().decode())
"""


class TrainingMachine:
    """All files belong to the user `trainer`, readable by nobody else; the daemon is another user."""

    def __init__(self, machine: SystemdMachine) -> None:
        self.machine = machine

    def set_up(self, *, watchdog: str = "60") -> None:
        m = self.machine
        m.run(f"useradd --system trainer && install -d -o trainer -g trainer -m 0755 /srv/training && install -d -o trainer -m 0700 {OUT}")
        for unit in (REPOSITORY / "systemd").rglob("*.service"):
            m.write(f"/etc/systemd/system/{unit.name}", unit.read_text())
        m.write("/etc/sysusers.d/spotguard.conf", (REPOSITORY / "systemd/spotguard.sysusers").read_text())
        m.run("systemd-sysusers")
        m.write("/etc/spotguard/config.yaml", _CONFIG)
        m.write("/etc/spotguard/environment", _ENVIRONMENT)
        m.write("/etc/systemd/system/s3.service", _SERVER.format(command="moto.server -H 127.0.0.1 -p 5000"))
        m.write("/etc/systemd/system/metadata.service", _SERVER.format(command="spotguard.demo.metadata_service --port 1338"))
        m.write("/etc/systemd/system/trainer.service.d/here.conf", _TRAINER.format(out=OUT))
        m.write("/etc/systemd/system/spotguard.service.d/here.conf", f"[Service]\nWatchdogSec={watchdog}\n")
        m.run("systemctl daemon-reload && systemctl start s3 metadata")
        m.write("/usr/local/bin/ask", _ASK, "0755")
        m.until("the bucket", lambda: m.run(f"ask PUT {_S3}/bucket && echo made", check=False).endswith("made"))

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.machine.run("spotguard status --json"))
        return told

    def committed(self) -> list[str]:
        """Names in the bucket, the newest first."""
        listed = self.machine.run("set -a; . /etc/spotguard/environment; spotguard list --json")
        return [checkpoint["name"] for checkpoint in json.loads(listed)["checkpoints"]]

    def interrupt(self, seconds: float) -> None:
        body = json.dumps({"notice": {"action": "terminate", "seconds": seconds}})
        self.machine.run(f"ask POST http://127.0.0.1:1338/_control '{body}'")
