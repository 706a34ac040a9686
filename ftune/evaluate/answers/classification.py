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
        found = logits.sigmoid().tolist()
        return [
            Said(
                ", ".join(sorted(n for n, p in zip(labels, row, strict=True) if p > 0.5)),
                tuple(row),
            )
            for row in found
        ]
    best = logits.argmax(-1).tolist()
    rows = logits.softmax(-1).tolist()
    return [Said(labels[at], tuple(row)) for at, row in zip(best, rows, strict=True)]
