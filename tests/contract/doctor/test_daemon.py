"""What the doctor takes from a daemon that runs."""

from __future__ import annotations

from typing import Any

from spotguard.assembly.doctor import throughput
from spotguard.assembly.doctor.patient import patient_of
from spotguard.config.sources import load_config
from spotguard.core.diagnosis import Finding, Verdict
from spotguard.core.problem import Severity
from spotguard.core.status import DaemonState, TrainerStatus
from tests.contract.doctor.conftest import Doctor
from tests.support.servers import free_port
from tests.unit.cli.served_status import problem, served, status

URL = "s3://my-bucket/run"
"""Of the daemon that is served."""


def test_problems_of_the_daemon_are_findings_with_their_severity_and_fix(doctor: Doctor) -> None:
    troubled = status(problems=(problem(Severity.ERROR), problem(Severity.WARNING)))
    with served(troubled) as address:
        visit = doctor("daemon", url=URL, http__listen=address)
    assert [finding["verdict"] for finding in visit.of("daemon")] == ["error", "warning"]
    assert visit.of("daemon")[0]["fix"] == troubled.problems[0].fix
    assert visit.status == 1


def test_a_daemon_without_problems_is_well_and_one_of_another_run_is_told(doctor: Doctor) -> None:
    with served(status()) as address:
        assert doctor("daemon", url=URL, http__listen=address).one("daemon")["verdict"] == "ok"
        stranger = doctor("daemon", http__listen=address).one("daemon")
    assert (stranger["verdict"], URL in stranger["found"]) == ("warning", True)


def test_the_trainer_of_a_run_is_told_by_its_daemon(doctor: Doctor) -> None:
    guarded = TrainerStatus(found=True, pids=(4711,), configured=True, signal="SIGTERM")
    with served(status(trainer=guarded)) as address:
        finding = doctor("trainer", url=URL, http__listen=address).one("trainer")
    assert (finding["verdict"], "4711" in finding["found"]) == ("ok", True)


def test_no_daemon_is_nothing_wrong(doctor: Doctor) -> None:
    assert doctor("daemon", http__listen=f"127.0.0.1:{free_port()}").one("daemon")["verdict"] == "skipped"
    assert doctor("daemon").one("daemon")["verdict"] == "skipped"


async def test_the_link_is_left_to_a_daemon_that_drains(monkeypatch: Any) -> None:
    """No byte is sent: there is not even a store to send it to."""

    async def reachable() -> None:
        return None

    with served(status(DaemonState.DRAINING)) as address:
        given = [("watch.dir", "/data"), ("destination.url", URL), ("http.listen", address)]
        config = load_config(None, given, {}, "/").config
        async with patient_of(config) as patient:
            monkeypatch.setattr(patient, "store_trouble", reachable)
            found = await throughput.examine(patient)
    assert found == [Finding("throughput", Verdict.SKIPPED, "not measured: the daemon is draining and needs the link for itself")]
