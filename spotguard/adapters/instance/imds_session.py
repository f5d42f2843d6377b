"""One conversation with the instance metadata service, version 2: tokens, keep-alive, and every failure with its name.

Version 1 (requests without a token) is never spoken. Proxies and redirects are never followed: what is said to this service is
meant for nobody else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp

from spotguard.ports.metadata_service import MetadataUnavailable

TOKEN_SECONDS = 21600
"""The longest that the service grants."""
_RENEW_SECONDS = 300.0
"""Renewed this long before its end, or at half of its life if that is later."""
_LARGEST_ANSWER_BYTES = 256 * 1024
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said to one GET; `body` is None where it has nothing there (404)."""

    body: bytes | None
    date: float | None
    """Its clock, seconds since the epoch; None where the answer had no `Date`."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: float
    ends_at: float


class ImdsSession:
    """Not to be shared between event loops. `instance` names the machine in the fixes that are proposed."""

    def __init__(self, endpoint: str, *, connect_seconds: float = 1.0, answer_seconds: float = 2.0) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.instance = "$(cat /var/lib/cloud/data/instance-id)"
        self._timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=connect_seconds)
        self._answer_seconds = answer_seconds
        self._http: aiohttp.ClientSession | None = None
        self._token: _Token | None = None
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def open(self) -> None:
        """Make sure that there is a token. Raises MetadataUnavailable."""
        await self._valid_token()

    async def get(self, path: str) -> Answer:
        """GET `/latest/{path}`. A token that is refused is replaced and the request made anew, once.

        Raises MetadataUnavailable. Cancelled: the connection is dropped, the token stays."""
        token = await self._valid_token()
        status, answer = await self._request("GET", path, {_TOKEN: token.text})
        if status == 401:
            self._forget(token)
            token = await self._valid_token()
            status, answer = await self._request("GET", path, {_TOKEN: token.text})
            if status == 401:
                self._forget(token)
        if status == 404:
            return Answer(None, answer.date)
        if status != 200:
            raise self._refused(f"GET {path}", status)
        return answer

    def _forget(self, token: _Token) -> None:
        if self._token is token:
            self._token = None

    async def _valid_token(self) -> _Token:
        """The token in use, renewed in time; many who ask at once make one request."""
        async with self._renewing:
            now = asyncio.get_running_loop().time()
            known = self._token
            if known is not None and now < known.renew_at:
                return known
            try:
                self._token = await self._new_token()
            except MetadataUnavailable:
                if known is None or now >= known.ends_at:
                    raise
                return known  # it is good for some minutes more
            return self._token

    async def _new_token(self) -> _Token:
        status, answer, granted = await self._exchange("PUT", "api/token", {_TTL: str(TOKEN_SECONDS)})
        text = (answer.body or b"").decode("latin-1").strip()
        if status != 200:
            raise self._refused("the request for a token", status)
        if not text.isprintable() or not text or "<" in text:
            raise MetadataUnavailable(f"{self.endpoint} answered the request for a token with no token", self._fix_endpoint())
        seconds = float(granted) if granted.isascii() and granted.isdigit() else float(TOKEN_SECONDS)
        now = asyncio.get_running_loop().time()
        return _Token(text, now + max(seconds - _RENEW_SECONDS, seconds / 2), now + seconds)

    async def _request(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, Answer]:
        status, answer, _ = await self._exchange(method, path, headers)
        return status, answer

    async def _exchange(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, Answer, str]:
        """Status, answer and the granted lifetime of one request; the connection is free again on return."""
        try:
            async with self._client().request(method, f"{self.endpoint}/latest/{path}", headers=headers, allow_redirects=False) as response:
                body = await response.content.read(_LARGEST_ANSWER_BYTES)
                while not response.content.at_eof() and len(body) < _LARGEST_ANSWER_BYTES:
                    body += await response.content.read(_LARGEST_ANSWER_BYTES)
                if not response.content.at_eof():
                    response.close()
                return response.status, Answer(body, _date(response.headers.get("Date"))), response.headers.get(_TTL, "")
        except aiohttp.ClientConnectorError as error:
            raise MetadataUnavailable(f"nothing listens at {self.endpoint}: {error.strerror or error}", self._fix_endpoint()) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise MetadataUnavailable(f"{self.endpoint} can not be reached: no connection in time", self._fix_endpoint()) from error
        except TimeoutError as error:
            raise self._silent(method, path) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MetadataUnavailable(f"{method} {path} at {self.endpoint} failed: {_one_line(error)}", self._fix_endpoint()) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(limit=6, keepalive_timeout=60.0)
            self._http = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._http

    def _silent(self, method: str, path: str) -> MetadataUnavailable:
        seconds = f"{self._answer_seconds:g} s"
        if method != "PUT":
            return MetadataUnavailable(f"GET {path} got no answer within {seconds}", "")
        return MetadataUnavailable(
            f"the request for a token got no answer within {seconds}: in a container the hop limit is likely too low",
            f"aws ec2 modify-instance-metadata-options --instance-id {self.instance} --http-put-response-hop-limit 2"
            " (or run the container with host networking)",
        )

    def _refused(self, what: str, status: int) -> MetadataUnavailable:
        if status == 403:
            return MetadataUnavailable(
                f"the metadata service refuses {what} (403): it is switched off, or a proxy stands between",
                f"aws ec2 modify-instance-metadata-options --instance-id {self.instance} --http-endpoint enabled"
                "; and let no proxy stand between",
            )
        if status in (429, 503):
            return MetadataUnavailable(
                f"the metadata service throttles {what} ({status})", "find out what else on this machine asks it so often"
            )
        if status >= 500:
            return MetadataUnavailable(f"the metadata service failed on {what} ({status})", "")
        if status == 401:
            return MetadataUnavailable(f"the metadata service refuses a fresh token for {what} (401)", self._fix_endpoint())
        return MetadataUnavailable(f"the metadata service answered {what} with {status}", self._fix_endpoint())

    def _fix_endpoint(self) -> str:
        return f"check imds.endpoint ({self.endpoint}); on a machine that is no EC2 instance set imds.mode: off"


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except (ValueError, OverflowError):
        return None


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
