"""What is made of an answer and a reference before they are compared."""

from __future__ import annotations

import re
import unicodedata

from pydantic import field_validator

from ftune.recipe.base import Section

# 1,234 is a number with thousands; 1,2 is left alone: 1.2 to some, and two numbers to others.
NUMBER = re.compile(r"([-+]?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.([0-9]*))?")


class Normalization(Section):
    """Options that metrics on whole answers share."""

    ignore_case: bool = False
    """Compare without regard to upper and lower case."""
    ignore_punctuation: bool = False
    """Leave out punctuation of any script."""
    strip: bool = True
    """Leave out blanks at both ends, and take any run of blanks as one."""
    pattern: str | None = None
    """A regular expression whose last match is compared instead of the whole text, on both sides:
    its first group, or all of it where it has none. GSM8K: ``#### (-?[0-9.,]+)``."""
    numeric: bool = False
    """Compare numbers by value where both sides are numbers: 1,000.0 is 1000, and $5 is 5."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error}); correct it") from error
        return pattern

    def described(self) -> str:
        """The options as a part of a signature."""
        chosen = [
            ("case", "lc" if self.ignore_case else "mixed"),
            ("punctuation", "no" if self.ignore_punctuation else "yes"),
            ("strip", "yes" if self.strip else "no"),
            ("numeric", "yes" if self.numeric else "no"),
        ]
        parts = [f"{name}:{value}" for name, value in chosen]
        return "|".join(parts + ([f"pattern:{self.pattern}"] if self.pattern is not None else []))


def extract(text: str, options: Normalization) -> str | None:
    """What ``options.pattern`` finds last in ``text``, or None; the text if there is no pattern."""
    if options.pattern is None:
        return text
    matches = list(re.finditer(options.pattern, text))
    if not matches:
        return None
    return matches[-1][1] if matches[-1].re.groups else matches[-1][0]


def normalize(text: str, options: Normalization) -> str:
    """``text`` under ``options``, for comparison only."""
    if options.ignore_case:
        text = text.casefold()
    if options.ignore_punctuation:
        text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
    if options.strip:
        text = " ".join(text.split())
    return _number(text) if options.numeric else text


def _number(text: str) -> str:
    """A number in one spelling; other text as it is."""
    bare = text.strip().lstrip("$€£").rstrip("%.").strip()
    found = NUMBER.fullmatch(bare)
    if found is None or not (found[2] or found[3]):
        return text
    whole = found[2].replace(",", "").lstrip("0") or "0"
    part = (found[3] or "").rstrip("0")
    value = f"{whole}.{part}" if part else whole
    return f"-{value}" if found[1] == "-" and value != "0" else value
