"""What the doctor says of store, permissions and credentials, each with the fault in place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from spotguard.adapters.s3.connection import S3Settings, connect
from spotguard.assembly.doctor import bucket as bucket_check
from spotguard.assembly.doctor import clock
from spotguard.assembly.doctor.examination import CHECKS
from spotguard.assembly.doctor.patient import patient_of
from spotguard.config.sources import load_config
from spotguard.core.diagnosis import Verdict
from spotguard.core.iam_policy import Purpose, policy_for
from spotguard.core.run_keys import RunKeys
from spotguard.ports.object_store import ObjectMissing, StoreDenied
from tests.contract.doctor.conftest import Doctor
from tests.contract.object_store.scripted_server import Reply, serving
from tests.e2e.world import s3_client
from tests.support.servers import Endpoint, authority, free_port
from tests.support.servers.authority import Authority, Need

ACTIONS = sorted({action for statement in policy_for(Purpose.DAEMON, RunKeys("b", "run1"))["Statement"] for action in statement["Action"]})


def test_a_sound_set_up_has_no_error_and_nothing_is_left_in_the_bucket(doctor: Doctor, moto_endpoint: Endpoint, bucket: str) -> None:
    visit = doctor(*CHECKS)
    assert visit.status == 0
    assert {f["check"] for f in visit.findings if f["verdict"] == "ok"} >= {
        "credentials",
        "bucket",
        "permissions",
        "conditional-writes",
        "checksums",
        "encryption",
        "throughput",
        "clock",
        "readable",
        "inotify",
        "disk",
    }
    client = s3_client(moto_endpoint.url)
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_policy_that_lacks_one_single_action_is_told_by_its_name(action: str, doctor: Doctor, guarded: Authority, bucket: str) -> None:
    whole = authority.allowed_by(policy_for(Purpose.DAEMON, RunKeys(bucket, "run1")))
    guarded.allows = lambda need: need.action != action and whole(need)
    visit = doctor("credentials", "bucket", "permissions", endpoint=guarded.endpoint)
    assert {need.action for need in guarded.refused} == {action}
    assert visit.status == 1
    [error] = visit.errors
    assert error["check"] == "permissions"
    assert error["found"].startswith(f"{action} is denied")
    assert f"allow {action}: aws iam put-role-policy" in error["fix"]


def test_the_policy_of_the_daemon_is_enough_for_every_check(doctor: Doctor, guarded: Authority, bucket: str) -> None:
    guarded.allows = authority.allowed_by(policy_for(Purpose.DAEMON, RunKeys(bucket, "run1")))
    visit = doctor(*CHECKS, endpoint=guarded.endpoint)
    assert visit.errors == []
    assert guarded.refused == []
    assert {need.action for need in guarded.asked} == set(ACTIONS)


def test_a_bucket_of_somebody_else_is_one_error_and_not_seven(doctor: Doctor, guarded: Authority) -> None:
    guarded.allows = lambda need: False
    [error] = doctor(endpoint=guarded.endpoint).errors
    assert "the bucket is somebody else's, or these credentials have no policy for it" in error["found"]


def test_a_denial_of_kms_behind_a_write_is_named_as_such(doctor: Doctor, guarded: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded.deny("s3:PutObject")
    monkeypatch.setattr(authority, "access_denied", lambda need: authority.denial("kms:GenerateDataKey", "arn:aws:kms:us-east-1:1:key/k"))
    found = [error["found"] for error in doctor(endpoint=guarded.endpoint).errors]
    assert found
    assert all(one.startswith("kms:GenerateDataKey is denied") for one in found)


def test_no_credentials_are_one_error(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    [error] = doctor().errors
    assert error["check"] == "credentials"
    assert "AWS_ACCESS_KEY_ID" in error["fix"]


@pytest.mark.needs_ceph
def test_wrong_keys_are_told_as_wrong_keys(doctor: Doctor, ceph_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    [error] = doctor(endpoint=ceph_endpoint).errors
    assert error["check"] == "bucket"
    assert "SignatureDoesNotMatch" in error["found"]
    assert "secret key" in error["fix"]


@pytest.mark.parametrize(
    "server", [pytest.param("ceph", marks=pytest.mark.needs_ceph), pytest.param("localstack", marks=pytest.mark.needs_localstack)]
)
def test_real_servers_are_judged_by_what_they_do(server: str, doctor: Doctor, request: pytest.FixtureRequest) -> None:
    endpoint: Endpoint = request.getfixturevalue(f"{server}_endpoint")
    s3_client(endpoint.url).create_bucket(Bucket="visited")
    visit = doctor(*CHECKS, endpoint=endpoint, url="s3://visited/run1")
    assert visit.errors == []
    assert visit.one("conditional-writes")["verdict"] == "ok"
    assert visit.one("checksums")["verdict"] == ("warning" if server == "ceph" else "ok")
    assert visit.one("throughput")["verdict"] == "ok"


def test_a_bucket_that_does_not_exist_names_the_command_that_makes_it(doctor: Doctor, moto_endpoint: Endpoint) -> None:
    [error] = doctor(url="s3://nobody-made-this/run1").errors
    assert error["check"] == "bucket"
    assert error["fix"].startswith("spotguard bucket create --url s3://nobody-made-this/run1 ")


def test_an_endpoint_that_is_down_is_one_error(doctor: Doctor) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    [error] = doctor(endpoint=Endpoint(endpoint)).errors
    assert error["check"] == "bucket"
    assert f"no answer from {endpoint}" in error["found"]
    assert "refused" in error["found"]


def test_a_prefix_inside_another_run_is_an_error(doctor: Doctor, moto_endpoint: Endpoint, bucket: str) -> None:
    s3_client(moto_endpoint.url).put_object(Bucket=bucket, Key="run1/.spotguard/claims/00000001.json", Body=b"{}")
    [error] = doctor(url=f"s3://{bucket}/run1/inner").errors
    assert "lies inside the run" in error["found"]


def test_a_bucket_with_dots_in_its_name_is_reached(doctor: Doctor, moto_endpoint: Endpoint) -> None:
    s3_client(moto_endpoint.url).create_bucket(Bucket="with.dots.in-it")
    visit = doctor(url="s3://with.dots.in-it/run1")
    assert visit.errors == []
    assert "path style" in visit.of("bucket")[0]["found"]


def test_another_encryption_than_was_asked_for_is_an_error(doctor: Doctor, guarded: Authority) -> None:
    guarded.rewrite = lambda status, headers: {k: v for k, v in headers.items() if k.lower() != "x-amz-server-side-encryption"}
    assert doctor("store-rules", endpoint=guarded.endpoint).one("encryption")["verdict"] == "warning"
    guarded.rewrite = lambda status, headers: headers | {"x-amz-server-side-encryption": "aws:kms"}
    finding = doctor("store-rules", endpoint=guarded.endpoint, destination__sse="AES256").one("encryption")
    assert (finding["verdict"], "aws:kms is what was done" in finding["found"]) == ("error", True)


@pytest.mark.parametrize(("seconds", "verdict"), [(-120, "warning"), (3600, "error"), (5, "ok")])
def test_a_wrong_clock_is_told_against_the_date_of_the_store(seconds: int, verdict: str, doctor: Doctor, guarded: Authority) -> None:
    wrong = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    guarded.rewrite = lambda status, headers: {k: v for k, v in headers.items() if k.lower() != "date"} | {"Date": wrong}
    assert doctor("clock", endpoint=guarded.endpoint).one("clock")["verdict"] == verdict


def test_what_is_asked_of_the_store_needs_no_right_outside_of_the_run(doctor: Doctor, guarded: Authority, bucket: str) -> None:
    doctor(endpoint=guarded.endpoint)
    outside = {need for need in guarded.asked if need.key and not need.key.startswith("run1/.spotguard/doctor/")}
    assert outside == set()
    assert Need("s3:ListBucket", bucket, prefix="run1/") in guarded.asked


async def test_the_date_of_what_is_no_store_says_nothing_of_our_clock(monkeypatch: pytest.MonkeyPatch, aws_environment: None) -> None:
    portal = Reply(200, b"<html>log in</html>", {"content-type": "text/html"})  # with a date of its own
    async with serving(portal) as url:
        given = [("watch.dir", "/data"), ("destination.url", "s3://b/p"), ("destination.endpoint_url", url)]
        async with patient_of(load_config(None, given, {}, "/").config) as patient:
            [finding] = await clock.examine(patient)
            [told] = await bucket_check.examine(patient)
    assert finding.verdict is Verdict.SKIPPED
    assert "not S3's" in told.found


async def test_a_denial_of_what_a_listing_proves_to_be_missing_is_no_denial(
    moto_endpoint: Endpoint, guarded: Authority, bucket: str, aws_environment: None
) -> None:
    """As Ceph 16 answers under a policy that binds listing to a prefix."""
    guarded.allows = lambda need: need.action != "s3:GetObject"
    s3_client(moto_endpoint.url).put_object(Bucket=bucket, Key="run1/there", Body=b"x")
    async with connect(S3Settings(bucket, endpoint_url=guarded.endpoint.url)) as connection:
        for ask in (connection.store.head, connection.store.read):
            with pytest.raises(ObjectMissing):
                await ask("run1/missing")
            with pytest.raises(StoreDenied):
                await ask("run1/there")
        guarded.allows = lambda need: need.action not in ("s3:GetObject", "s3:ListBucket")
        with pytest.raises(StoreDenied):
            await connection.store.read("run1/missing")
