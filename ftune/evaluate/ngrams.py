"""Runs of words."""

from __future__ import annotations

from collections import Counter


def ngrams(text: str, order: int) -> Counter[tuple[str, ...]]:
    """How often each run of ``order`` words stands in ``text``; words lie between blanks."""
    words = text.split()
    return Counter(zip(*(words[i:] for i in range(order)), strict=False))
