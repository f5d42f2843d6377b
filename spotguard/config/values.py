"""Single values: what the text of a key must look like. Each check raises ValueError with what is wrong and what to write."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationInfo

_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")  # AWS wants 3 to 63 of fewer kinds; others do not
_LONGEST_PREFIX_BYTES = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAY_BE_WRONG = frozenset("\\[!")
"""Without these everything is a gitignore pattern."""
_NEVER_CAUGHT = {"SIGKILL", "SIGSTOP"}


def checked_text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; leave the key out or give it a value")
    if _CONTROL.search(text):
        raise ValueError("contains a control character")
    return text


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`; the prefix without slashes at its ends."""
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() != "s3":
        raise ValueError("must be of the form s3://bucket/prefix")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is not the name of a bucket; write s3://bucket/prefix")
    if prefix.startswith("/") or "//" in prefix:
        raise ValueError("has an empty folder (two slashes) in its prefix; remove one")
    prefix = prefix.removesuffix("/")
    segments = prefix.split("/")
    if "." in segments or ".." in segments:
        raise ValueError("has '.' or '..' in its prefix; write the prefix itself")
    if ".spotguard" in segments:
        raise ValueError("leads into the records of a run (.spotguard); name the prefix above it")
    if len(prefix.encode()) > _LONGEST_PREFIX_BYTES:
        raise ValueError(f"has a prefix of more than {_LONGEST_PREFIX_BYTES} bytes; S3 allows 1,024 for prefix and path together")
    return bucket, prefix


def _checked_s3_url(url: str) -> str:
    bucket, prefix = split_s3_url(checked_text(url))
    return f"s3://{bucket}/{prefix}".rstrip("/")


def _checked_http_url(url: str) -> str:
    parts = urlsplit(checked_text(url))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be of the form http://HOST:PORT or https://HOST")
    _ = parts.port  # raises ValueError for a port that is no number
    return url.rstrip("/")


def _as_path(value: Any, info: ValidationInfo) -> Path:
    """An absolute path: `~` is expanded, a relative one starts at the directory that the command was called in."""
    if not isinstance(value, str | Path):
        raise ValueError("must be a path; quote it if it looks like a number")
    checked_text(str(value))
    try:
        expanded = Path(value).expanduser()
    except RuntimeError as problem:
        raise ValueError("'~' names no home directory here; write the path in full") from problem
    base = (info.context or {}).get("cwd") or os.getcwd()
    return Path(base, expanded)


def _as_signal_name(value: Any) -> str:
    try:
        if isinstance(value, int) or (isinstance(value, str) and value.isascii() and value.isdigit()):
            name = signal.Signals(int(value)).name
        else:
            upper = str(value).upper()
            name = signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"].name
    except (KeyError, ValueError) as problem:
        raise ValueError("is not a signal; write a name such as SIGUSR1 or SIGTERM") from problem
    if name in _NEVER_CAUGHT:
        raise ValueError(f"{name} cannot be caught, so the trainer could not save; use SIGTERM or SIGUSR1")
    return name


def _checked_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    doubtful = [pattern for pattern in patterns if not _MAY_BE_WRONG.isdisjoint(pattern)]
    if doubtful:
        from pathspec import GitIgnoreSpec  # slow to load, and seldom needed

        for pattern in doubtful:
            try:
                GitIgnoreSpec.from_lines([pattern])
            except (ValueError, re.error):
                raise ValueError(f"has a pattern that gitignore does not know: {pattern!r}") from None
    return patterns


def _checked_regex(text: str) -> str:
    try:
        re.compile(checked_text(text))
    except re.error as problem:
        raise ValueError(f"is not a regular expression: {problem}") from problem
    return text


def checked_token(text: Any) -> str:
    if not isinstance(text, str) or not text or not all("!" <= mark <= "~" for mark in text):
        raise ValueError("must be ASCII letters, digits and signs without spaces, because it travels in a header")
    return text


def _as_words(value: Any) -> Any:
    """A command is a list of words, so that no shell splits what a name with a space means."""
    if isinstance(value, str):
        raise ValueError(f'must be a list of words, not one text; write ["sh", "-c", {_quoted(value)}]')
    if isinstance(value, list | tuple) and (not value or value[0] == ""):
        raise ValueError('names no command; write for example ["/usr/local/bin/notify", "--urgent"]')
    return value


def _as_patterns(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(f"must be a list of patterns; write [{_quoted(value)}]")
    return value


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


Text = Annotated[str, AfterValidator(checked_text)]
S3Url = Annotated[str, AfterValidator(_checked_s3_url)]
HttpUrl = Annotated[str, AfterValidator(_checked_http_url)]
AbsolutePath = Annotated[Path, BeforeValidator(_as_path)]
SignalName = Annotated[str, BeforeValidator(_as_signal_name)]
Regex = Annotated[str, AfterValidator(_checked_regex)]
Command = Annotated[tuple[str, ...], BeforeValidator(_as_words)]
Patterns = Annotated[tuple[Text, ...], BeforeValidator(_as_patterns), AfterValidator(_checked_patterns)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
