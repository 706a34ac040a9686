"""Say a number of a text or a pair: how alike they are, how good it is (STS-B)."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section
from ftune.types import Batch, LossSum

TAKES = "labelled"
KIND = "sequence_regression"


class Config(Section):
    """It has no options."""


def logits(model: Any, batch: Batch) -> Any:
    """The number said of each row, of shape (rows,)."""
    from ftune.train.labelled import outputs, wide

    return wide(outputs(model, batch).logits)[:, 0]


def loss(model: Any, batch: Batch, config: Config) -> LossSum:  # noqa: ARG001
    """Squared error, summed over rows, with gradient."""
    from ftune.train.labelled import NONE

    said = logits(model, batch)
    assert batch.targets is not None
    right = batch.targets[:, 0].to(said.dtype)
    there = right != NONE if not batch.count else slice(None)
    return LossSum(total=(said[there] - right[there]).square().sum(), count=batch.count)
