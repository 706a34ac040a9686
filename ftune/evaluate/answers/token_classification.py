"""The likeliest tag of each word's first token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.evaluate.labelling import Said

OUTSIDE = "O"  # of words without a token


def said(
    logits: Any,
    batch: Any,
    labels: Sequence[str],
    config: Any,  # noqa: ARG001
    asked: Sequence[tuple[int, Sequence[int]]],
) -> list[Said]:
    """For each row of ``logits`` (rows, length, tags) its tags with blanks between, one a word.

    ``asked`` says for each row how many words it has, and which of them have tokens. Words that
    have none (they were cut off, or the tokenizer leaves them out) get O.
    """
    best = logits.argmax(-1)
    found = []
    for row, (count, words) in enumerate(asked):
        places = (batch.targets[row] != -100).nonzero().flatten()
        tags = [OUTSIDE] * count
        for word, at in zip(words, best[row][places.to(best.device)].tolist(), strict=True):
            tags[word] = labels[at]
        found.append(Said(" ".join(tags)))
    return found
