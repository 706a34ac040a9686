"""Which writing systems a text is in: the first word of each letter's Unicode name."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

COMPATIBLE = {"FULLWIDTH": "LATIN", "HALFWIDTH": "KATAKANA", "IDEOGRAPHIC": "CJK"}


@lru_cache(maxsize=1 << 16)
def system_of(character: str) -> str | None:
    """LATIN, CYRILLIC, CJK, ARABIC and so on; None for what is no letter."""
    if not character.isalpha():
        return None
    first = unicodedata.name(character, "OTHER").partition(" ")[0]
    return COMPATIBLE.get(first, first)


def count(text: str) -> Counter[str]:
    """Letters of each writing system."""
    found: Counter[str] = Counter()
    for character, times in Counter(text).items():
        name = system_of(character)
        if name is not None:
            found[name] += times
    return found
