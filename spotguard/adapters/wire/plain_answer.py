"""Reads an answer that came whole and is plain, which nearly all are: http.client takes longer for one than a part's checksum does."""

from __future__ import annotations

from typing import NamedTuple

_BEGINNING = b"HTTP/1.1 "
_FIRST_FINAL = b"200"
_WITHOUT_BODY = (b"204", b"304")


class PlainAnswer(NamedTuple):
    status: int
    headers: dict[str, str]
    """Lower-case names; of a name that comes twice, the last."""
    body: bytes

    @property
    def closes(self) -> bool:
        return "close" in self.headers.get("connection", "").lower()


def plain_answer(arrived: bytes) -> PlainAnswer | None:
    """What has arrived as an answer, if it is just that: final, of told length, all of it and nothing more. Else it is left to
    http.client, which knows the rest of the protocol."""
    head, ended, body = arrived.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    code = first[len(_BEGINNING) : len(_BEGINNING) + 3]
    if not ended or not first.startswith(_BEGINNING) or not code.isdigit() or code < _FIRST_FINAL or code in _WITHOUT_BODY:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\n" in line or b"\r" in line:  # folded, or no header
            return None
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    if "transfer-encoding" in headers or headers.get("content-length", "") != str(len(body)):
        return None
    return PlainAnswer(int(code), headers, body)
