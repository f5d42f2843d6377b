"""Every request has the signature that botocore would have given it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from spotguard.adapters.s3.address import WireAddress
from spotguard.adapters.s3.route import Route
from spotguard.adapters.s3.signing import DECODED_LENGTH, UNSIGNED, UNSIGNED_WITH_TRAILER, PathSigner

PAYLOADS = [UNSIGNED, UNSIGNED_WITH_TRAILER, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
TEXT = st.text(st.characters(codec="utf-8"))
VALUE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]))
NAME = st.one_of(
    st.sampled_from([*SIGNED_HEADERS_BLACKLIST, "content-md5", "x-amz-meta-a", "x-amz-meta-zz", "if-none-match", "x-amz-z", "range"]),
    st.from_regex(r"x-amz-meta-[a-z0-9_.-]{1,20}", fullmatch=True),
)
CREDENTIALS = st.builds(ReadOnlyCredentials, st.text("AKIZ0129", min_size=1), TEXT.filter(bool), st.none() | st.text("FQoG/+=", min_size=1))


def botocores(method: str, url: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials, region: str, payload: str) -> str:
    """The Authorization of a request with these headers, all that are sent, at the time that they name."""

    class Auth(S3SigV4Auth):
        def payload(self, request: object) -> str:
            return payload

    request = AWSRequest(method, url, headers=dict(headers))
    request.context["timestamp"] = headers["X-Amz-Date"]
    auth = Auth(credentials, "s3", region)
    auth._inject_signature_to_request(request, auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
    return str(request.headers["Authorization"])


def address(key: str, query: Mapping[str, str], *, path_style: bool) -> tuple[WireAddress, str]:
    route = Route("eu-west-1", "https://store.example:9000", path_style, None, 0)
    where = WireAddress(route, "my-bucket", None)
    return where, where.path(key, "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items()))


def sign(method: str, path: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials, payload: str) -> dict[str, str]:
    """All headers of one request without a body."""
    signer = PathSigner(method, headers, credentials=credentials, region="eu-west-1", payload=payload)
    return {**signer.headers, **signer.own(path, 0)}


@given(
    method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    key=TEXT,
    query=st.dictionaries(st.sampled_from(["partNumber", "uploadId", "prefix", "list-type", "start-after", "uploads"]), TEXT),
    path_style=st.booleans(),
    headers=st.dictionaries(NAME, VALUE, max_size=5),
    credentials=CREDENTIALS,
    payload=st.sampled_from(PAYLOADS),
)
def test_whatever_the_key_the_query_and_the_headers(
    method: str,
    key: str,
    query: dict[str, str],
    path_style: bool,
    headers: dict[str, str],
    credentials: ReadOnlyCredentials,
    payload: str,
) -> None:
    where, path = address(key, query, path_style=path_style)
    url, asked = where.url(path), {"host": where.host, **headers}
    signed = sign(method, path, asked, credentials, payload)
    sent = {name: value for name, value in signed.items() if name != "Authorization"}
    assert signed["Authorization"] == botocores(method, url, sent, credentials, "eu-west-1", payload)
    added = {name for name in sent if name.startswith("X-Amz-") or name == DECODED_LENGTH}
    assert sent == {**asked, **{name: sent[name] for name in added - asked.keys()}}
    assert sent.get("X-Amz-Security-Token") == credentials.token
    assert sent["X-Amz-Content-SHA256"] == payload


@given(keys=st.lists(TEXT, min_size=1, max_size=3), framed=st.booleans(), headers=st.dictionaries(NAME, VALUE, max_size=3))
def test_of_requests_that_differ_in_path_and_size_each_has_its_own(keys: list[str], framed: bool, headers: dict[str, str]) -> None:
    credentials, payload = ReadOnlyCredentials("key", "secret", "token"), UNSIGNED_WITH_TRAILER if framed else UNSIGNED
    where, _ = address("", {}, path_style=False)
    asked = {"host": where.host, **headers}
    signer = PathSigner("PUT", asked, credentials=credentials, region="eu-west-1", payload=payload)
    for size, key in enumerate(keys):
        own = signer.own(where.path(key), 1000 * size)
        sent = {**signer.headers, **{name: value for name, value in own.items() if name != "Authorization"}}
        assert own["Authorization"] == botocores("PUT", where.url(where.path(key)), sent, credentials, "eu-west-1", payload)
        assert own.get(DECODED_LENGTH) == (str(1000 * size) if framed else None)


def test_the_time_and_all_headers_are_those_that_botocore_adds() -> None:
    credentials = ReadOnlyCredentials("key", "secret", "token")
    ours = sign("PUT", "/k", {"host": "b.example"}, credentials, UNSIGNED)
    request = AWSRequest("PUT", "https://b.example/k", headers={"host": "b.example"})
    S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    assert {name.lower() for name in ours} == {name.lower() for name in request.headers}
    assert ours["X-Amz-Date"][:8] in str(request.headers["Authorization"]) or ours["X-Amz-Date"] < str(request.headers["X-Amz-Date"])


@pytest.mark.parametrize("name", SIGNED_HEADERS_BLACKLIST)
def test_what_botocore_does_not_sign_is_not_signed(name: str) -> None:
    signed = sign("GET", "/k", {"host": "b.example", name: "x"}, ReadOnlyCredentials("key", "secret", None), UNSIGNED)
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in signed["Authorization"]
