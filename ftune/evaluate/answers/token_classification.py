"""The likeliest tag of each word's first token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.evaluate.labelling import Said

OUTSIDE = "O"  # of words that were cut off


def said(
    logits: Any,
    batch: Any,
    labels: Sequence[str],
    config: Any,  # noqa: ARG001
    asked: Sequence[int],
) -> list[Said]:
    """For each row of ``logits`` (rows, length, tags) its tags with blanks between, one a word.

    Words that were cut off get O.
    """
    best = logits.argmax(-1)
    found = []
    for row, count in enumerate(asked):
        places = (batch.targets[row] != -100).nonzero().flatten()
        tags = [labels[at] for at in best[row][places.to(best.device)].tolist()]
        found.append(Said(" ".join(tags + [OUTSIDE] * (count - len(tags)))))
    return found
