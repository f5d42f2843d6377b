"""Answers that are read at once are read as http.client reads them; what is unusual is left to it."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spotguard.adapters.wire.plain_answer import plain_answer

NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,15}", fullmatch=True)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=20)
BODY = st.binary(max_size=60)


class Arrived:
    """A socket that brings so much and then ends."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._content))  # type: ignore[type-var]


def read_by_http_client(arrived: bytes) -> tuple[int, dict[str, str], bytes, bool]:
    response = http.client.HTTPResponse(Arrived(arrived), method="PUT")  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return response.status, {name.lower(): value.strip(" \t") for name, value in response.getheaders()}, body, response.will_close


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    body = draw(BODY)
    headers = draw(st.lists(st.tuples(NAME, VALUE), max_size=4))
    headers += draw(st.lists(st.sampled_from([("Content-Length", str(len(body))), ("Connection", "close"), ("ETag", '"x"')]), max_size=3))
    between = draw(st.sampled_from([": ", ":", ":  ", " : "]))
    lines = [f"HTTP/1.1 {draw(st.sampled_from([200, 204, 206, 301, 403, 412, 500, 503]))} Whatever"]
    lines += [f"{name}{between}{value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@given(arrived=answers())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive, Close\r\n\r\n")
def test_what_is_read_at_once_is_what_http_client_reads(arrived: bytes) -> None:
    if (plain := plain_answer(arrived)) is not None:
        assert (plain.status, plain.headers, plain.body, plain.closes) == read_by_http_client(arrived)


def test_the_answer_to_a_part_is_read_at_once() -> None:
    plain = plain_answer(b'HTTP/1.1 200 OK\r\nETag: "0a"\r\nx-amz-checksum-crc64nvme: AAAAAAAAAAA=\r\nContent-Length: 0\r\n\r\n')
    assert plain is not None
    assert plain.headers["etag"] == '"0a"'


def test_a_refusal_with_its_words_is_read_at_once() -> None:
    plain = plain_answer(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<Code>")
    assert plain is not None
    assert (plain.status, plain.body, plain.closes) == (503, b"<Code>", True)


@pytest.mark.parametrize(
    "arrived",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno header\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n0",
        b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x32",
    ],
    ids=lambda arrived: repr(arrived[9:60]),
)
def test_the_unusual_is_left_to_http_client(arrived: bytes) -> None:
    assert plain_answer(arrived) is None
