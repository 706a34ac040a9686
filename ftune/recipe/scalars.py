"""What a plain (unquoted) YAML scalar means: the core rules of YAML 1.2, not those of 1.1.

So ``no``, ``0755``, ``12:30:45`` and dates stay text, and ``1e-4`` is a number.
"""

from __future__ import annotations

import math
import re

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
LONGEST_INTEGER = 100  # digits; a recipe has no use for more

Scalar = str | int | float | bool | None


def plain_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar.

    Raises:
        ValueError: it is a number that no key can take; the message says why.
    """
    if text in NULLS:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    if INTEGER.fullmatch(text):
        if len(text) > LONGEST_INTEGER:
            raise ValueError(f"is a number of more than {LONGEST_INTEGER} digits; write a smaller")
        return int(text.replace("_", ""))
    if FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"{text} is too large for a number; write a smaller one")
        return value
    if NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that a recipe can hold; write a finite one")
    return text


def is_plain_text(text: str) -> bool:
    """Whether the unquoted ``text`` would be read as text, and not as a number, a word or null."""
    try:
        return isinstance(plain_scalar(text), str)
    except ValueError:
        return False
