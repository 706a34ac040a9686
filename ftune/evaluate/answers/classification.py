"""The likeliest label, or all labels that are likelier than not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.evaluate.labelling import Said


def said(
    logits: Any,
    batch: Any,  # noqa: ARG001
    labels: Sequence[str],
    config: Any,
    asked: Sequence[Any],  # noqa: ARG001
) -> list[Said]:
    """For each row of ``logits`` (rows, labels) what is said, with the labels' probabilities."""
    if config.multi_label:
        found = []
        for row in logits.sigmoid().tolist():
            likely = tuple(sorted(n for n, p in zip(labels, row, strict=True) if p > 0.5))
            found.append(Said(", ".join(likely), tuple(row), likely))
        return found
    best = logits.argmax(-1).tolist()
    rows = logits.softmax(-1).tolist()
    return [Said(labels[at], tuple(row), (labels[at],)) for at, row in zip(best, rows, strict=True)]
