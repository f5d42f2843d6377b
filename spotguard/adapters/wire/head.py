"""The headers of a request, as they go over the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CAN_NOT_BE_SENT = re.compile(r"[\r\n\0]")


class UnfitForHead(ValueError):
    """A header with a line break in it, which would be read as another header."""


def header_lines(headers: Mapping[str, str]) -> str:
    """Raises UnfitForHead, which does not say the value: it may be a secret."""
    for name, value in headers.items():
        if _CAN_NOT_BE_SENT.search(value):
            raise UnfitForHead(f"the header {name} has a line break in it")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
