"""JSON values as rows, with what Python's reader accepts silently and a row may not hold."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ftune.data.columns import kind_of

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
LONG_NUMBER = re.compile(r"-?\d{4301,}")
LONE = re.compile("[\ud800-\udfff]")


class RowDecoder:
    """Decodes one JSON value at a time and notes what is wrong with it.

    What is wrong but leaves the value's end known (a key twice, NaN) is noted in ``problems``.
    """

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []  # a text to find the place by, and what it is
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant, parse_float=self._float
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = next(key for key, count in counts.items() if count > 1)
            self.problems.append((json.dumps(twice), f"the key {twice!r} stands there twice"))
        return found

    def _constant(self, name: str) -> float:
        self.problems.append((name, f"{name} is not JSON; write a number or null"))
        return 0.0

    def _float(self, text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            self.problems.append((text, f"{text} is too large a number"))
        return number

    def decode(self, text: str, start: int = 0) -> tuple[Any, int]:
        """The value at ``start`` and where it ends; raises json.JSONDecodeError."""
        self.problems = []
        try:
            return self._decoder.raw_decode(text, start)
        except RecursionError:
            raise json.JSONDecodeError("it is nested too deep", text, start) from None
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python's limit of digits, and the only one that comes here
            at = LONG_NUMBER.search(text, start)
            place = at.start() if at else start
            said = "a number has more than 4,300 digits; write it as text"
            raise json.JSONDecodeError(said, text, place) from None

    def problem(self, value: Any, text: str, start: int, end: int) -> tuple[int, str] | None:
        """The first thing wrong with a decoded value: its position in ``text``, and what."""
        if self.problems:
            sought, what = self.problems[0]
            twice = "twice" in what
            at = text.rfind(sought, start, end) if twice else text.find(sought, start, end)
            return max(at, start), what
        if value is None:
            return start, "is null and must be an object"
        if not isinstance(value, dict):
            return start, f"is {kind_of(value)} and must be an object"
        if "\\u" in text:
            return _escapes(value, text, start, end)
        return None


def _escapes(value: Any, text: str, start: int, end: int) -> tuple[int, str] | None:
    """Escaped characters that no text may hold: half a surrogate pair, a NUL."""
    for string in _strings(value):
        if LONE.search(string):
            match = SURROGATE.search(text, start, end)
            at = match.start() if match else start
            return at, "an escape is half a surrogate pair, which is no character; correct it"
        if "\0" in string:
            return max(text.find("\\u0000", start, end), start), "a NUL (\\u0000); remove it"
    return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
