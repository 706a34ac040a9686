"""Say which tag each word has (named entities)."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section
from ftune.types import Batch, LossSum

TAKES = "tagged"
KIND = "token_classification"


class Config(Section):
    """What the tags are."""

    labels: tuple[str, ...] = ()
    """All tags in their order; empty: those of the training rows, by name."""


def logits(model: Any, batch: Batch) -> Any:
    """Of shape (rows, length, tags); virtual tokens in front are left out."""
    from ftune.train.labelled import outputs, wide

    return wide(outputs(model, batch).logits)[:, -batch.input_ids.shape[1] :]


def loss(model: Any, batch: Batch, config: Config) -> LossSum:  # noqa: ARG001
    """Cross-entropy in nats over tags, summed over words, with gradient.

    A word is told by its first token (Devlin et al. 2019, section 5.3).
    """
    import torch

    from ftune.train.labelled import NONE

    assert batch.targets is not None
    total = torch.nn.functional.cross_entropy(
        logits(model, batch).flatten(0, 1),
        batch.targets.long().flatten(),
        ignore_index=NONE,
        reduction="sum",
    )
    return LossSum(total=total, count=batch.count)
