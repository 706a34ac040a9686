"""The number that the head gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.evaluate.labelling import Said


def said(
    logits: Any,
    batch: Any,  # noqa: ARG001
    labels: Sequence[str],  # noqa: ARG001
    config: Any,  # noqa: ARG001
    asked: Sequence[Any],  # noqa: ARG001
) -> list[Said]:
    """The number of each row of ``logits`` (rows,)."""
    return [Said(f"{number:.6g}") for number in logits.tolist()]
