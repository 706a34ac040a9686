"""Say which of several ways to go on is right (SWAG)."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section
from ftune.types import Batch, LossSum

TAKES = "choices"
KIND = "multiple_choice"


class Config(Section):
    """It has no options."""


def logits(model: Any, batch: Batch) -> list[Any]:
    """For each row those of its choices."""
    from ftune.train.labelled import wide

    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if batch.token_type_ids is not None:
        given["token_type_ids"] = batch.token_type_ids
    # Rows may have unlike many choices; so each line is handed over as a row with one.
    rated = model(**{key: one.unsqueeze(1) for key, one in given.items()}).logits
    return list(wide(rated).flatten().split(list(batch.lines)))


def loss(model: Any, batch: Batch, config: Config) -> LossSum:  # noqa: ARG001
    """Cross-entropy in nats over the choices of a row, summed over rows, with gradient."""
    import torch

    from ftune.train.labelled import NONE

    assert batch.targets is not None
    losses = [
        torch.nn.functional.cross_entropy(
            one.unsqueeze(0), right.long(), ignore_index=NONE, reduction="sum"
        )
        for one, right in zip(logits(model, batch), batch.targets, strict=True)
    ]
    return LossSum(total=torch.stack(losses).sum(), count=batch.count)
