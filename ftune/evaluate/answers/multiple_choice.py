"""The choice that is rated highest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.evaluate.labelling import Said


def said(
    logits: Any,
    batch: Any,  # noqa: ARG001
    labels: Sequence[str],  # noqa: ARG001
    config: Any,  # noqa: ARG001
    asked: Sequence[Sequence[str]],
) -> list[Said]:
    """For each row of ``logits`` (a list, each of the row's choices) the best, and all shares."""
    found = []
    for one, choices in zip(logits, asked, strict=True):
        best = choices[int(one.argmax())]
        found.append(Said(best, tuple(one.softmax(-1).tolist()), (best,)))
    return found
