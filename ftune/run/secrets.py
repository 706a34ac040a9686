"""Secrets taken out of all that ftune prints, and of the records that it writes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from ftune import environment

REDACTED = "REDACTED"  # no sign that means something in YAML, JSON, Markdown or HTML
# user:password@ of a URL, or a token alone before the @.
IN_URL = re.compile(r"(?<=://)[^\s/@'\"<>]+(?=@)")
NAMES = "access_token|api_?key|auth|key|passw(?:or)?d|private_token|secret|sig|signature|token"
IN_QUERY = re.compile(rf"(?i)(?<=[?&;])((?:x-amz-)?(?:{NAMES})=)[^\s&;#'\"<>]+")
BEARER = re.compile(r"(?i)\b(bearer |authorization: *\w+ )[\w.~+/=-]{8,}")
# What the makers of keys begin them with, so that scanners find them.
KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|AKIA[A-Z0-9]{16})"
)


def redacted(text: str, known: Iterable[str] | None = None) -> str:
    """``text`` without secrets: values of variables called so, keys, and passwords in URLs.

    ``known``: the values; by default those of the environment.
    """
    for value in environment.secrets() if known is None else known:
        text = text.replace(value, REDACTED)
    if "://" in text:
        text = IN_URL.sub(REDACTED, text)
    text = IN_QUERY.sub(rf"\1{REDACTED}", text)
    text = BEARER.sub(rf"\1{REDACTED}", text)
    return KNOWN.sub(REDACTED, text)


class Redacting:
    """A text stream that takes secrets out of each piece that is written; else the stream.

    What can't be written (a log on a full disk, a reader that has gone) ends no training: it is
    left out from there on, and ``lost`` says why.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Writes the piece; the length of what was given, as streams do."""
        with self._going_on():
            self._stream.write(redacted(text))
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        with self._going_on():
            self._stream.flush()

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
            with suppress(OSError, ValueError):  # else it fails once more when the process ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def without_secrets(stream: TextIO) -> TextIO:
    """The stream, writing no secrets."""
    return cast(TextIO, stream if isinstance(stream, Redacting) else Redacting(stream))
