"""Where a bucket is: the same that boto3 finds, or left to boto3."""

from __future__ import annotations

from pathlib import Path

import botocore.session
import pytest

from spotguard.adapters.s3.access import S3Access
from spotguard.adapters.s3.address import WireAddress
from spotguard.adapters.s3.credentials import surroundings_of
from spotguard.adapters.s3.route import Route, plain_route
from spotguard.adapters.s3.settings import S3Settings

pytestmark = pytest.mark.usefixtures("plain_aws_environment")


@pytest.mark.parametrize(
    "settings",
    [
        S3Settings("bucket", region="eu-west-1"),
        S3Settings("bucket", region="us-east-1"),
        S3Settings("my-bucket-1", region="ap-southeast-2"),
        S3Settings("bucket", endpoint_url="http://127.0.0.1:9000"),
        S3Settings("bucket", region="eu-west-1", endpoint_url="https://minio.example/"),
        S3Settings("dotted.bucket", endpoint_url="http://[::1]:9000"),
    ],
    ids=str,
)
def test_a_plain_case_has_the_route_that_boto3_finds(settings: S3Settings) -> None:
    access = S3Access(settings)
    route = plain_route(access.identity.surroundings(), settings, 0)
    assert route is not None
    assert route == access._boto().route(access.subject("use"))
    access.close()


@pytest.mark.parametrize(
    "settings",
    [
        S3Settings("bucket"),
        S3Settings("dotted.bucket", region="eu-west-1"),
        S3Settings("bucket--use1-az4--x-s3", region="us-east-1"),
        S3Settings("point-abc-s3alias", region="us-east-1"),
        S3Settings("bucket", region="cn-north-1"),
        S3Settings("bucket", region="us-gov-west-1"),
        S3Settings("bucket", region="aws-global"),
        S3Settings("bucket", endpoint_url="https://s3.dualstack.eu-west-1.amazonaws.com"),
        S3Settings("bucket", endpoint_url="http://127.0.0.1:9000/below"),
    ],
    ids=str,
)
def test_whatever_has_rules_of_its_own_is_left_to_boto3(settings: S3Settings) -> None:
    assert plain_route(surroundings_of(botocore.session.Session()), settings, 0) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
    ],
)
def test_so_is_an_environment_that_moves_s3(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert plain_route(surroundings_of(botocore.session.Session()), S3Settings("bucket", region="eu-west-1"), 0) is None


@pytest.mark.parametrize(
    "line",
    ["endpoint_url = http://127.0.0.1:9000", "services = mine", "s3 =\n  use_accelerate_endpoint = true", "use_fips_endpoint = true"],
)
def test_and_a_profile_that_does(tmp_path: Path, line: str) -> None:
    (tmp_path / "config").write_text(f"[default]\n{line}\n[services mine]\ns3 =\n  endpoint_url = http://127.0.0.1:9000\n")
    assert plain_route(surroundings_of(botocore.session.Session()), S3Settings("bucket", region="eu-west-1"), 0) is None


def test_the_region_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    route = plain_route(surroundings_of(botocore.session.Session()), S3Settings("bucket"), 7)
    assert route is not None
    assert (route.endpoint, route.generation) == ("https://s3.eu-north-1.amazonaws.com", 7)


@pytest.mark.parametrize("bundle", [None, "/aws.pem"])
def test_certificates_are_checked_with_what_boto3_checks_them_with(monkeypatch: pytest.MonkeyPatch, bundle: str | None) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/requests.pem")
    if bundle:
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    access = S3Access(S3Settings("bucket", region="eu-west-1"))
    route = plain_route(access.identity.surroundings(), access.settings, 0)
    assert route is not None
    client = access.identity.client("s3", region_name="eu-west-1")
    assert WireAddress(route, "bucket", None).place.ca_bundle == client._endpoint.http_session._verify
    access.close()


@pytest.mark.parametrize("below", ["", "/", "/below", "/below/this/"])
def test_requests_to_an_endpoint_below_a_path_go_where_those_of_boto3_go(below: str) -> None:
    access = S3Access(S3Settings("bucket", region="eu-west-1", endpoint_url=f"http://gateway.example:9000{below}"))
    client = access.identity.client("s3", region_name="eu-west-1", endpoint_url=access.settings.endpoint_url)
    theirs = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "a/b c"}).partition("?")[0]
    where = WireAddress(Route("eu-west-1", str(access.settings.endpoint_url), True, None, 0), "bucket", None)
    assert where.url(where.path("a/b c")) == theirs
    access.close()
