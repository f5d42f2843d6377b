"""Setting a bucket up, on real servers: what is left out is what the server does not have, by name."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.bucket_admin import S3BucketAdmin
from spotguard.adapters.s3.settings import S3Settings
from spotguard.core.bucket_settings import BucketWish, Document
from spotguard.core.iam_policy import Purpose, policy_for, setup_actions
from spotguard.core.run_keys import RunKeys
from spotguard.ports.bucket_admin import BucketTaken
from spotguard.ports.object_store import BucketMissing, StoreDenied, StoreError, StoreRejected, StoreUnavailable
from spotguard.services.run import bucket_setup
from spotguard.services.run.bucket_setup import BucketSetup, Step
from tests.contract.object_store.scripted_server import Reply, serving
from tests.support.servers import Endpoint, authority, free_port

LEFT_OUT = {"moto": set(), "localstack": set(), "ceph": {"encryption"}}
"""Ceph 16 has no default encryption. (All three are asked over plain http here, where the TLS policy is left out by itself.)"""
SERVERS = [
    pytest.param("moto"),
    pytest.param("ceph", marks=pytest.mark.needs_ceph),
    pytest.param("localstack", marks=pytest.mark.needs_localstack),
]
pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> tuple[str, Endpoint]:
    return request.param, request.getfixturevalue(f"{request.param}_endpoint")


class NamedAdmin(S3BucketAdmin):
    def __init__(self, access: S3Access, bucket: str) -> None:
        super().__init__(access)
        self.bucket = bucket


class SecureAdmin(NamedAdmin):
    """Takes plain http for TLS; moto heeds no policy, so that one can be written."""

    secure = True  # type: ignore[assignment]


@asynccontextmanager
async def admin_of(
    endpoint: Endpoint, bucket: str | None = None, region: str | None = None, *, secure: bool = False
) -> AsyncIterator[NamedAdmin]:
    name = bucket or f"setup-{uuid.uuid4().hex[:12]}"
    access = S3Access(S3Settings(name, region=region, endpoint_url=endpoint.url))
    try:
        yield (SecureAdmin if secure else NamedAdmin)(access, name)
    finally:
        access.close()


def setup_of(admin: NamedAdmin, prefix: str = "run1") -> BucketSetup:
    wish = BucketWish(admin.bucket, prefix, f"{prefix}/")
    return BucketSetup(admin, wish, region_named="here", create_command="spotguard bucket create")


def silent(_: Step) -> None:
    pass


def outcomes(steps: list[Step]) -> dict[str, str]:
    return {step.name: step.outcome for step in steps}


async def test_a_dry_run_makes_nothing_and_a_real_one_all_that_the_store_has(server: tuple[str, Endpoint]) -> None:
    name, endpoint = server
    async with admin_of(endpoint) as admin:
        rehearsed = outcomes(await setup_of(admin).create(silent, dry_run=True))
        assert set(rehearsed.values()) <= {"would", "left-out"}
        assert not await admin.exists()
        made = outcomes(await setup_of(admin).create(silent, dry_run=False))
        assert {step for step, outcome in made.items() if outcome == "left-out"} == LEFT_OUT[name] | {"tls-only"}
        assert "failed" not in made.values()
        lacks = [lack.name for lack in await setup_of(admin).check() if lack.severity == "error"]
        assert lacks == []


async def test_a_second_run_changes_nothing(server: tuple[str, Endpoint]) -> None:
    name, endpoint = server
    async with admin_of(endpoint) as admin:
        await setup_of(admin).create(silent, dry_run=False)
        again = outcomes(await setup_of(admin).create(silent, dry_run=False))
        assert set(again.values()) <= {"already", "left-out"}
        assert {step for step, outcome in again.items() if outcome == "left-out"} == LEFT_OUT[name] | {"tls-only"}


async def test_a_rule_that_expires_current_objects_is_found_with_the_command_that_takes_it_away(server: tuple[str, Endpoint]) -> None:
    _, endpoint = server
    async with admin_of(endpoint) as admin:
        await setup_of(admin).create(silent, dry_run=False)
        found = await admin.read("lifecycle")
        assert found is not None
        harmful = {"ID": "clean", "Status": "Enabled", "Filter": {"Prefix": "run1/"}, "Expiration": {"Days": 30}}
        await admin.write("lifecycle", {"Rules": [*found["Rules"], harmful]})
        [lack] = [lack for lack in await setup_of(admin).check() if lack.severity == "error"]
        assert "the rule clean deletes objects under the run after 30 days" in lack.found
        assert lack.fix.startswith(f"aws s3api put-bucket-lifecycle-configuration --bucket {admin.bucket} ")
        assert '"clean"' not in lack.fix


async def test_a_bucket_that_is_missing_has_one_shortcoming(moto_endpoint: Endpoint) -> None:
    async with admin_of(moto_endpoint) as admin:
        [lack] = await setup_of(admin).check()
        assert (lack.name, lack.severity, lack.fix) == ("bucket", "error", "spotguard bucket create")


async def test_a_tls_policy_is_written_where_requests_go_over_tls(moto_endpoint: Endpoint) -> None:
    async with admin_of(moto_endpoint, secure=True) as admin:
        made = outcomes(await setup_of(admin).create(silent, dry_run=False))
        assert made["tls-only"] == "done"
        assert [lack.name for lack in await setup_of(admin).check()] == []


async def test_a_new_bucket_gets_rules_for_all_of_it_and_an_old_one_for_the_run_only(moto_endpoint: Endpoint) -> None:
    async with admin_of(moto_endpoint) as new, admin_of(moto_endpoint) as old:
        await old.create()
        for admin, scope in ((new, ""), (old, "run1/")):
            await setup_of(admin).create(silent, dry_run=False)
            written = await admin.read("lifecycle")
            assert written is not None
            assert {rule["Filter"].get("Prefix", "") for rule in written["Rules"]} == {scope}


async def test_a_name_that_somebody_else_has_is_one_clear_line(moto_endpoint: Endpoint) -> None:
    with authority.running(moto_endpoint) as guarded:
        guarded.allows = lambda need: False
        async with admin_of(guarded.endpoint, "taken") as admin:
            with pytest.raises(BucketTaken, match="the bucket name taken is taken: it belongs to another account") as failure:
                await setup_of(admin).create(silent, dry_run=False)
            assert "choose another name" in failure.value.fix
        assert guarded.refused


@pytest.mark.needs_ceph
async def test_wrong_keys_are_not_taken_for_a_name_that_is_taken(ceph_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    async with admin_of(ceph_endpoint, "whatever") as admin:
        with pytest.raises(StoreDenied) as failure:
            await admin.exists()
        assert not isinstance(failure.value, BucketTaken)
        assert "InvalidAccessKeyId" in str(failure.value)


async def test_a_setting_that_is_denied_is_named_and_the_others_are_made(moto_endpoint: Endpoint) -> None:
    with authority.running(moto_endpoint) as guarded:
        guarded.deny("s3:PutLifecycleConfiguration")
        async with admin_of(guarded.endpoint) as admin:
            steps = await setup_of(admin).create(silent, dry_run=False)
    [failed] = [step for step in steps if step.outcome == "failed"]
    assert failed.name == "lifecycle"
    assert "s3:PutLifecycleConfiguration" in failed.reason
    assert outcomes(steps)["versioning"] == "done"
    assert guarded.refused


async def test_a_setting_that_may_not_be_looked_at_is_a_warning(moto_endpoint: Endpoint) -> None:
    with authority.running(moto_endpoint) as guarded:
        async with admin_of(guarded.endpoint) as admin:
            await setup_of(admin).create(silent, dry_run=False)
            guarded.deny("s3:GetBucketVersioning")
            [lack] = [lack for lack in await setup_of(admin).check() if lack.name == "versioning"]
    assert lack.severity == "warning"
    assert "s3:GetBucketVersioning" in lack.fix


async def test_the_setup_policy_is_enough_and_each_of_its_actions_is_asked_for(moto_endpoint: Endpoint) -> None:
    with authority.running(moto_endpoint) as guarded:
        async with admin_of(guarded.endpoint, secure=True) as admin:
            guarded.allows = authority.allowed_by(policy_for(Purpose.SETUP, RunKeys(admin.bucket, "run1")))
            made = outcomes(await setup_of(admin).create(silent, dry_run=False))
            await setup_of(admin).check()
    assert set(made.values()) == {"done"}
    assert guarded.refused == []
    assert {need.action for need in guarded.asked} == set(setup_actions())


async def test_a_region_other_than_the_default_is_where_the_bucket_goes(moto_endpoint: Endpoint) -> None:
    async with admin_of(moto_endpoint, region="eu-west-1") as admin:
        await admin.create()
        await admin.create()  # ours already
        assert await admin.exists()


async def test_an_endpoint_that_is_down_is_told_as_unreachable() -> None:
    async with admin_of(Endpoint(f"http://127.0.0.1:{free_port()}")) as admin:
        with pytest.raises(StoreUnavailable):
            await admin.exists()


async def test_a_bucket_in_another_region_is_not_taken_for_one_that_is_missing() -> None:
    async with serving(Reply(301, headers={"x-amz-bucket-region": "eu-west-1"})) as url, admin_of(Endpoint(url)) as admin:
        with pytest.raises(BucketMissing, match="the bucket is in the region eu-west-1"):
            await setup_of(admin).create(silent, dry_run=False)


async def test_without_a_region_nothing_is_made_and_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(S3Access, "known_region", lambda self: None)
    async with admin_of(Endpoint("http://127.0.0.1:9")) as admin:
        with pytest.raises(StoreRejected, match="no region is set") as failure:
            await admin.create()
    assert "--set destination.region=REGION" in failure.value.fix


@pytest.mark.parametrize("status", [200, 403])
async def test_a_captive_portal_is_no_bucket(status: int) -> None:
    portal = Reply(status, b"<html>log in</html>", {"content-type": "text/html"})
    async with serving(portal) as url, admin_of(Endpoint(url)) as admin:
        with pytest.raises(StoreError):
            await setup_of(admin).create(silent, dry_run=False)


async def test_a_setting_that_is_shown_seconds_later_is_done(moto_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_setup, "_SHOWN_WITHIN", (0.0, 0.01, 0.01))
    async with admin_of(moto_endpoint) as admin:
        read, stale = admin.read, 2

        async def late(setting: str) -> Document | None:
            nonlocal stale
            if setting != "versioning" or stale == 0:
                return await read(setting)
            stale -= 1
            return None

        monkeypatch.setattr(admin, "read", late)
        assert outcomes(await setup_of(admin).create(silent, dry_run=False))["versioning"] == "done"
        assert stale == 0


async def test_a_setting_that_the_store_drops_is_never_called_done(moto_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_setup, "_SHOWN_WITHIN", (0.0, 0.01))

    async def drop(setting: str, document: Document) -> None:
        pass

    async with admin_of(moto_endpoint) as admin:
        monkeypatch.setattr(admin, "write", drop)
        made = outcomes(await setup_of(admin).create(silent, dry_run=False))
    assert set(made.values()) == {"done", "left-out"}
    assert made["versioning"] == "left-out"
