"""What is found without botocore is what botocore finds, and whatever else there may be is left to it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import botocore.session
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.credentials import AwsIdentity, CredentialsFault, surroundings_of
from spotguard.adapters.s3.environment import plain_environment
from spotguard.adapters.s3.settings import S3Settings
from spotguard.ports.object_store import StoreDenied

pytestmark = pytest.mark.usefixtures("plain_aws_environment")

NAMES = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_CA_BUNDLE",
    "AWS_PROFILE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL_S3",
]
VALUES = st.sampled_from(["", "a", "true", "eu-west-1", "a b/+=", "ü"])


@given(variables=st.dictionaries(st.sampled_from(NAMES), VALUES))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_the_environment_says_is_what_botocore_finds_in_it(variables: dict[str, str]) -> None:
    variables = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", **variables}
    files = {name: os.environ[name] for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    found = plain_environment(variables | files)
    if found is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        session = botocore.session.Session()
        credentials = session.get_credentials()
        assert credentials is not None
        assert found == (tuple(credentials.get_frozen_credentials())[:3], surroundings_of(session))


def test_keys_alone_need_no_botocore() -> None:
    found = plain_environment(os.environ | {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_SESSION_TOKEN": "token"})
    assert found is not None
    assert found[0] == ("key", "secret", "token")
    assert (found[1].region, found[1].moves_s3) == ("eu-west-1", False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "mine"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_CREDENTIAL_EXPIRATION", "2026-11-24T00:00:00Z"),
        ("AWS_SECURITY_TOKEN", "token"),
        ("AWS_REGION", "eu-west-1"),  # another than AWS_DEFAULT_REGION, which is not set
        ("AWS_WHATEVER_COMES_NEXT", "true"),
        ("AWS_CONFIG_FILE", "$HOME/config"),
        ("AWS_CONFIG_FILE", "/"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ],
)
def test_whatever_may_change_the_answer_is_left_to_botocore(name: str, value: str) -> None:
    assert plain_environment(os.environ | {name: value}) is None


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_so_is_a_file_with_anything_in_it_but_not_an_empty_one(name: str) -> None:
    Path(os.environ[name]).touch()
    assert plain_environment(os.environ) is not None
    Path(os.environ[name]).write_text("[default]\n")
    assert plain_environment(os.environ) is None


def test_a_profile_that_does_not_exist_is_refused_as_botocore_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(CredentialsFault, match="none"):
        AwsIdentity().surroundings()
    with pytest.raises(CredentialsFault, match="none"):
        AwsIdentity().frozen()


def test_keys_that_were_renewed_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = AwsIdentity()
    assert identity.frozen().access_key == "key"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    assert not identity.renew()  # it is only seconds old
    monkeypatch.setattr("spotguard.adapters.s3.credentials._REREAD_SECONDS", 0.0)
    assert identity.renew()
    assert (identity.frozen().access_key, identity.generation) == ("other", 1)


@pytest.mark.parametrize("below", ["", "/below"], ids=["without boto3", "with it"])
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
def test_a_line_break_in_a_key_is_a_fault_of_the_credentials_and_not_told_in_full(
    monkeypatch: pytest.MonkeyPatch, name: str, below: str
) -> None:
    monkeypatch.setenv(name, "hidden\n")
    access = S3Access(S3Settings("bucket", endpoint_url=f"http://127.0.0.1:1{below}"))
    with pytest.raises(StoreDenied, match="a line break") as caught:
        asyncio.run(access.check_bucket())
    access.close()
    assert "hidden" not in str(caught.value)
