"""The likeliest run of tokens of a context, over all its windows.

As in BERT's SQuAD evaluation: the largest sum of the two logits among the best starts and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.evaluate.labelling import Said

BEST = 20  # starts and ends of a window that are looked at


def said(
    logits: tuple[Any, Any],
    batch: Any,
    labels: Sequence[str],  # noqa: ARG001
    config: Any,
    asked: Sequence[tuple[str, Sequence[Any]]],
) -> list[Said]:
    """For each row the words of its context; empty where none is the likelier answer."""
    found = []
    window = 0
    for (context, characters), count in zip(asked, batch.lines, strict=True):
        best, span, nothing = float("-inf"), (0, 0), float("inf")
        for places in characters:
            starts, ends = logits[0][window].tolist(), logits[1][window].tolist()
            nothing = min(nothing, starts[0] + ends[0])
            value, here = _best(starts, ends, places, config.max_answer_length)
            if value > best:
                best, span = value, here
            window += 1
        assert count == len(characters)
        threshold = config.null_score_diff_threshold
        none = threshold is not None and nothing - best > threshold
        found.append(Said("" if none else context[span[0] : span[1]]))
    return found


def _best(
    starts: Sequence[float], ends: Sequence[float], places: Sequence[Any], longest: int
) -> tuple[float, tuple[int, int]]:
    """The largest sum in a window, and the characters that it stands for."""
    inside = [at for at, place in enumerate(places) if place is not None]
    value, span = float("-inf"), (0, 0)
    for first in sorted(inside, key=lambda at: -starts[at])[:BEST]:
        for last in sorted(inside, key=lambda at: -ends[at])[:BEST]:
            if first <= last < first + longest and starts[first] + ends[last] > value:
                value = starts[first] + ends[last]
                span = (places[first][0], places[last][1])
    return value, span
